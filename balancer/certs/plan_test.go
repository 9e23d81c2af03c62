package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestPlans changes plans under listeners.
func TestPlans(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	a := serial(i.write(dir, "a", wanted{names: []string{"a.example.org"}}))
	b := serial(i.write(dir, "b", wanted{names: []string{"b.example.org"}}))
	k := keep(t, nil, pairOf(dir, "a"))
	run(t, k)
	shelf := only(t, k)
	two := Plan{Listeners: map[string]Listener{
		"l": {Sources: []Source{pairOf(dir, "b"), pairOf(dir, "a")}},
		"m": {Sources: []Source{pairOf(dir, "a"), pairOf(dir, "a")}},
	}}
	shown := func(listener string) string {
		c, err := k.Config(listener).GetCertificate(anybody(""))
		if err != nil {
			return err.Error()
		}
		return serial(c.Leaf)
	}
	const none = "no certificate is planned for listener m"
	c, err := k.Prepare(two)
	if err != nil {
		t.Fatal(err)
	}
	if shown("l") != a || shown("m") != a {
		t.Errorf("prepared: got %s and %s: a new listener's socket may open now", shown("l"), shown("m"))
	}
	c.Drop()
	if shown("l") != a || shown("m") != none {
		t.Errorf("dropped: got %s and %s", shown("l"), shown("m"))
	}
	if err := k.Apply(two); err != nil {
		t.Fatal(err)
	}
	if shown("l") != b || shown("m") != a || ask(t, k, "a.example.org") != a {
		t.Errorf("in force: got %s and %s", shown("l"), shown("m"))
	}
	list := k.List()
	if len(list) != 2 || fmt.Sprint(list[0].Listeners, list[1].Listeners) != "[l m] [l]" || list[0].ID == list[1].ID {
		t.Errorf("got %+v", list)
	}
	if k.shelves[pairOf(dir, "a").key()].shelf != shelf {
		t.Error("a shelf was made anew")
	}
	bad := Plan{Listeners: map[string]Listener{
		"l": {Sources: []Source{pairOf(dir, "a"), pairOf(dir, "none")}},
		"m": {},
		"n": {Sources: []Source{pairOf(dir, "none")}},
	}}
	err = k.Apply(bad)
	if err == nil || strings.Count(err.Error(), "none.pem: no such file") != 1 || !strings.Contains(err.Error(), "listener m has no certificate") {
		t.Errorf("got %v", err)
	}
	if shown("l") != b || shown("m") != a {
		t.Errorf("after a bad one: got %s and %s", shown("l"), shown("m"))
	}
	if err := k.Apply(planOf(pairOf(dir, "a"))); err != nil {
		t.Fatal(err)
	}
	if shown("l") != a || shown("m") != none {
		t.Errorf("at last: got %s and %s", shown("l"), shown("m"))
	}
}

// TestPrepared: the socket of a new listener opens before the plan is in force, and
// whoever comes by then is shown what there is, whatever the plan before it named.
func TestPrepared(t *testing.T) {
	i, dir, storage := newIssuer(t), t.TempDir(), newTold(t)
	i.write(dir, "old", wanted{names: []string{"old.example.org"}})
	k := New(Options{Log: new(book).log(), Storage: storage})
	if err := k.Apply(planOf(pairOf(dir, "old"))); err != nil {
		t.Fatal(err)
	}
	file := serial(i.write(dir, "new", wanted{names: []string{"new.example.org"}}))
	leaf, key := i.issue(wanted{names: []string{"brought.example.org"}})
	if _, err := k.Import(t.Context(), []byte(certPEM(leaf, i.cert)), []byte(keyPEM(t, key))); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		source Source
		want   string
	}{
		"file":     {pairOf(dir, "new"), file},
		"imported": {Source{Imported: true}, serial(leaf)},
	} {
		c, err := k.Prepare(Plan{Listeners: map[string]Listener{"l": {Sources: []Source{pairOf(dir, "old")}}, "m": {Sources: []Source{tt.source}}}})
		if err != nil {
			t.Fatal(err)
		}
		if shown, err := k.Config("m").GetCertificate(anybody("")); err != nil || serial(shown.Leaf) != tt.want {
			t.Errorf("%s: got %v, %v", name, shown, err)
		}
		c.Drop()
	}
}

// TestTryObtained: a check finds what a start would refuse, and what files have in them
// beside it.
func TestTryObtained(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	i.write(dir, "a", wanted{names: []string{"a.example.org"}})
	one := Issuer{Name: "one", Directory: "https://ca.example.org/dir", Challenges: []Challenge{HTTP01}}
	two := one
	two.Name, two.Directory = "two", one.Directory+"/"
	p := planOf(pairOf(dir, "a"), Source{Names: []string{"b.example.org"}})
	p.ACME = acmeOf(one)
	if list, err := Try(p); err != nil || len(list) != 1 {
		t.Errorf("one issuer: got %v, %v", list, err)
	}
	p.ACME = acmeOf(one, two)
	start := New(Options{Log: new(book).log(), Storage: newTold(t)}).Apply(p)
	if _, err := Try(p); start == nil || err == nil || err.Error() != start.Error() {
		t.Errorf("two with one account: a check says %v, a start %v", err, start)
	}
	p.Listeners["l"] = Listener{Sources: []Source{pairOf(dir, "none"), {Names: []string{"b.example.org"}}}}
	if _, err := Try(p); err == nil || !strings.Contains(err.Error(), "one account") || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("and a file that is not there: got %v", err)
	}
}

// TestResumption: a ticket is good over an exchange of certificates, and nothing
// of the old one is kept by crypto/tls.
func TestResumption(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	i.write(dir, "a", wanted{names: []string{"a.example.org"}})
	k := keep(t, nil, pairOf(dir, "a"))
	for range 3 {
		want := i.write(dir, "a", wanted{names: []string{"a.example.org"}})
		only(t, k).look(true)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c, err := shake(t, k, &tls.Config{MaxVersion: version})
			if err != nil || serial(c) != serial(want) {
				t.Errorf("got %v, %v, want %s", c, err, serial(want))
			}
		}
	}
}

// TestExpiry: who ends soon degrades the node and is warned of once a day, unless
// another does the same.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, dir, now := newIssuer(t), t.TempDir(), time.Now()
		for name, w := range map[string]wanted{
			"long":  {names: []string{"long.example.org"}, from: now.AddDate(0, 0, -60), to: now.Add(9*day + time.Hour)},
			"short": {names: []string{"short.example.org"}, from: now, to: now.Add(6 * day)},
			"old":   {names: []string{"both.example.org"}, from: now.AddDate(0, 0, -60), to: now.Add(3 * day)},
			"new":   {names: []string{"both.example.org", "more.example.org"}, from: now.AddDate(0, 0, -1), to: now.Add(300 * day)},
			"rsa":   {names: []string{"both.example.org"}, key: rsaKey(), from: now.AddDate(0, 0, -60), to: now.Add(7*day - time.Hour)},
		} {
			i.write(dir, name, w)
		}
		log := new(book)
		k := New(Options{Log: log.log()})
		plan := Plan{Listeners: map[string]Listener{"l": {}, "m": {}}}
		for name := range plan.Listeners {
			plan.Listeners[name] = Listener{Sources: []Source{pairOf(dir, "long"), pairOf(dir, "short"), pairOf(dir, "old"), pairOf(dir, "new"), pairOf(dir, "rsa")}}
		}
		if err := k.Apply(plan); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := contextOf(t)
		done := make(chan struct{})
		go func() { defer close(done); k.remind(ctx) }()
		for _, tt := range []struct {
			after    time.Duration
			degraded string
			warnings int // so far
		}{
			{0, "certificate both.example.org expires in 6 d", 1},
			{2 * day, "certificate both.example.org expires in 4 d", 3},
			{time.Hour, "certificate both.example.org expires in 4 d", 3},
			{2*day + time.Hour, "certificate both.example.org expires in 2 d|certificate long.example.org expires in 4 d|certificate short.example.org expires in 46 h", 5 + 3 + 1},
			{2 * day, "certificate both.example.org expires in 21 h|certificate long.example.org expires in 2 d|certificate short.example.org has expired", 7 + 5 + 3},
		} {
			time.Sleep(tt.after)
			synctest.Wait()
			if got := strings.Join(k.Degraded(), "|"); got != tt.degraded {
				t.Errorf("after %v: got %q, want %q", time.Since(now), got, tt.degraded)
			}
			var ending strings.Builder
			for _, s := range k.List() {
				if s.Ending {
					ending.WriteString("|certificate " + s.name() + " " + lasts(&s, time.Now()))
				}
			}
			if ending.String() != "|"+tt.degraded {
				t.Errorf("after %v: ending are %q, want %q", time.Since(now), ending.String(), tt.degraded)
			}
			if got := strings.Count(log.String(), "WARN"); got != tt.warnings {
				t.Errorf("after %v: %d warnings, want %d:\n%s", time.Since(now), got, tt.warnings, log)
			}
		}
		cancel()
		<-done
	})
}

// TestClock: all certificates are of the future.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is the year 2000
		i, dir, now := newIssuer(t), t.TempDir(), time.Now()
		first := i.write(dir, "a", wanted{names: []string{"a.example.org"}, from: now.AddDate(20, 0, 0)})
		k := keep(t, nil, pairOf(dir, "a"))
		c, err := k.Config("l").GetCertificate(anybody(""))
		if err != nil || serial(c.Leaf) != serial(first) {
			t.Errorf("got %v, %v", c, err)
		}
		if p := problem(t, k); !strings.Contains(p, "the clock of this host says 2000-01-01 00:00:00 UTC: see whether the clock is right") {
			t.Errorf("got %q", p)
		}
		if got := k.Degraded(); !slices.Equal(got, []string{"certificate a.example.org is not valid before 2020-01-01 00:00:00 UTC"}) {
			t.Errorf("got %q", got)
		}
		i.write(dir, "b", wanted{names: []string{"b.example.org"}})
		if err := k.Apply(planOf(pairOf(dir, "a"), pairOf(dir, "b"))); err != nil {
			t.Fatal(err)
		}
		for _, s := range k.List() {
			if strings.Contains(s.Problem, "clock") || (s.Problem == "") != (s.name() == "b.example.org") {
				t.Errorf("got %q of %s", s.Problem, s.name())
			}
		}
	})
}

// TestNoInotify runs itself where the kernel grants none, as happens on a host
// with many watchers.
func TestNoInotify(t *testing.T) {
	const what = "USHER_TEST_NO_INOTIFY"
	limit := os.Getenv(what)
	if limit == "" {
		for _, limit := range []string{"instances", "watches"} {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestNoInotify$", "-test.v")
			cmd.Env = append(os.Environ(), what+"="+limit)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
			}
			out, err := cmd.CombinedOutput()
			if err != nil && len(out) == 0 {
				t.Skipf("no user namespace is to be had: %v", err)
			}
			if err != nil || !strings.Contains(string(out), "--- PASS") {
				t.Errorf("%s: %v\n%s", limit, err, out)
			}
		}
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_inotify_"+limit, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	i, dir := newIssuer(t), t.TempDir()
	first := i.write(dir, "a", wanted{names: []string{"a.example.org"}})
	log := new(book)
	said := func() int { return strings.Count(log.String(), "noticed within a minute") }
	if limit == "watches" { // fsnotify waits for the kernel, so there is no bubble
		k := keep(t, log, pairOf(dir, "a"), Source{Directory: dir})
		run(t, k)
		eventually(t, "it is said", func() bool { return said() == 1 })
		return
	}
	synctest.Test(t, func(t *testing.T) {
		k := keep(t, log, pairOf(dir, "a"))
		ctx, cancel := contextOf(t)
		done := make(chan struct{})
		go func() { defer close(done); k.Run(ctx) }()
		for n := range 3 {
			var next *x509.Certificate
			synctest.Wait()
			next = i.write(dir, "a", wanted{names: []string{"a.example.org"}, from: time.Now()})
			if c, _ := k.Config("l").GetCertificate(anybody("")); serial(c.Leaf) != serial(first) {
				t.Errorf("%d: got %s, want %s", n, serial(c.Leaf), serial(first))
			}
			time.Sleep(lookEvery + time.Second)
			if c, _ := k.Config("l").GetCertificate(anybody("")); serial(c.Leaf) != serial(next) {
				t.Errorf("%d: got %s, want %s", n, serial(c.Leaf), serial(next))
			}
			first = next
		}
		if said() != 1 {
			t.Errorf("said %d times:\n%s", said(), log)
		}
		cancel()
		<-done
	})
}
