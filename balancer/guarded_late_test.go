package balancer_test

import (
	"testing"
	"time"

	"usher.example/balancer"
)

// Who comes so late that a good password would be answered in time and a wrong one not
// is not tried at all: else he could guess without being counted.
func TestLateGuess(t *testing.T) {
	r := guardedRig(t, func(o *balancer.Options) { o.Limits.LoginTime = 8 * time.Second }) // 6 s, of them 3 to wait
	began := time.Now()
	early, late := r.from("192.0.2.1"), r.from("192.0.2.1")
	early.say("a LOGIN ann secret\r\n")
	early.expect("a OK")
	until(t, "half of the time has passed", func() bool { return time.Since(began) > 3500*time.Millisecond })
	late.say("a LOGIN joe secret\r\n")
	late.expect("* BYE")
	late.closed()
	until(t, "it is accounted for", func() bool { return r.server.Stats()["imap"].Ended[balancer.ClientTimeout].Load() == 1 })
	if n := len(r.server.Sessions("joe")); n != 0 {
		t.Errorf("%d sessions of joe", n)
	}
}

// Who hangs up while he is kept waiting gives his place back.
func TestHeldClientGoes(t *testing.T) {
	r := guardedRig(t, nil)
	if err := r.guard.Learn(time.Now(), []byte(`{"penalties":[{"kind":"user","name":"joe","weight":20}]}`)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c := r.from("192.0.2.1")
	c.say("a LOGIN joe wrong\r\n")
	until(t, "it is held", func() bool { return r.guard.Held() == 1 })
	_ = c.Close()
	until(t, "he has gone", func() bool { return r.server.Stats()["imap"].Ended[balancer.ClientGone].Load() == 1 })
	t.Logf("his place is free after %v", time.Since(began))
	if n := r.guard.Held(); n != 0 {
		t.Errorf("%d are held", n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failed) != 0 {
		t.Errorf("he was tried: %+v", r.failed)
	}
}

// The time of logins is that which usher takes, not that for which the guard lets
// strangers wait.
func TestLoginTimeWithoutTheWait(t *testing.T) {
	r := guardedRig(t, func(o *balancer.Options) { o.Limits.LoginTime = 8 * time.Second })
	if err := r.guard.Learn(time.Now(), []byte(`{"penalties":[{"kind":"user","name":"joe","weight":9}]}`)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c := r.from("192.0.2.1")
	c.say("a LOGIN joe secret\r\n")
	c.expect("a OK")
	took := time.Since(began)
	waited := time.Duration(r.guard.Stats.Waited.Load())
	if waited < time.Second {
		t.Fatalf("he waited %v", waited)
	}
	_, _, seconds := r.server.Stats()["imap"].LoginTime.Snapshot()
	sum := time.Duration(seconds * float64(time.Second))
	t.Logf("a login took %v, of which the guard had %v; told as %v", took, waited, sum)
	if sum > took-waited+time.Second/10 {
		t.Errorf("told as %v", sum)
	}
}

// A panic while a failure's answer is kept back, or just before, leaves no place taken.
func TestPanicWhileHeld(t *testing.T) {
	r := guardedRig(t, nil)
	r.onFailed = func() { panic("the log is full") }
	c := r.from("192.0.2.1")
	c.say("a LOGIN joe wrong\r\n")
	c.closed()
	until(t, "it is accounted for", func() bool { return r.server.Stats()["imap"].Ended[balancer.Internal].Load() == 1 })
	if n := r.guard.Held(); n != 0 {
		t.Errorf("%d are held", n)
	}
}
