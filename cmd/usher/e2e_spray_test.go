package main_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// knock logs in once from an address, with TLS where there is a configuration.
func knock(at string, secure *tls.Config, from, user, password string, within time.Duration) (verdict, time.Duration) {
	began := time.Now()
	c, err := net.Dial("tcp", at)
	if err != nil {
		return lost, 0
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(began.Add(within))
	fmt.Fprintf(c, "PROXY TCP4 %s 192.0.2.2 1024 143\r\n", from)
	if secure != nil {
		c = tls.Client(c, secure)
	}
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil {
		return lost, 0
	}
	fmt.Fprintf(c, "a LOGIN %s \"%s\"\r\n", user, password)
	for {
		line, err := r.ReadString('\n')
		switch {
		case err != nil:
			return lost, time.Since(began)
		case strings.HasPrefix(line, "a OK"):
			return letIn, time.Since(began)
		case strings.HasPrefix(line, "a NO [AUTHENTICATIONFAILED]"):
			return judged, time.Since(began)
		case strings.HasPrefix(line, "a NO [LIMIT]"):
			return limited, time.Since(began)
		}
	}
}

// A spray is tries of a password from as many addresses, each in a network of its own, at
// a rate, whether those before have been answered or not. Who has no answer after a while
// hangs up.
type spray struct {
	Address                string // of the node
	TLS                    bool
	Tries, Addresses, Rate int
	Within                 time.Duration
	Nice                   int // its place at the processors, as nice(1) has it

	Took   time.Duration   // from the first try to the last
	Counts [verdicts]int64 // what became of them
}

// sprayVariable has a process of the tests be a sprayer.
const sprayVariable = "USHER_TEST_SPRAY"

// A sprayer is a process of its own, whose time is not the honest users': those share
// theirs with the back end, and none with it.
func init() {
	order := os.Getenv(sprayVariable)
	if order == "" {
		return
	}
	var s spray
	if err := json.Unmarshal([]byte(order), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.run()
	_ = json.NewEncoder(os.Stdout).Encode(s)
	os.Exit(0)
}

func (s *spray) run() {
	var secure *tls.Config
	if s.TLS {
		secure = &tls.Config{InsecureSkipVerify: true} // it does not care whom it guesses at
	}
	var counts [verdicts]atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for i := range s.Tries {
		if early := time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(s.Rate))); early > 0 {
			<-time.After(early)
		}
		wg.Go(func() {
			a := i % s.Addresses
			v, _ := knock(s.Address, secure, fmt.Sprintf("10.%d.%d.1", a/250, a%250), fmt.Sprintf("victim%d@example.org", i), "Winter2026", s.Within)
			counts[v].Add(1)
		})
	}
	s.Took = time.Since(began)
	wg.Wait()
	for v := range counts {
		s.Counts[v] = counts[v].Load()
	}
}

// start has a sprayer go. What it returns is filled in when done is closed.
func (s spray) start(t *testing.T) (result *spray, done <-chan struct{}) {
	t.Helper()
	order, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var out, complaint bytes.Buffer
	cmd := exec.Command("nice", "-n", strconv.Itoa(s.Nice), os.Args[0])
	cmd.Env = append(os.Environ(), sprayVariable+"="+string(order))
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := cmd.Wait()
		if err == nil {
			err = json.Unmarshal(out.Bytes(), &s)
		}
		if err != nil {
			t.Errorf("the sprayer: %v\n%s", err, complaint.String())
		}
		if s.Counts[letIn] > 0 {
			t.Errorf("%d guesses were let in", s.Counts[letIn])
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	return &s, ended
}

func (s *spray) String() string {
	return fmt.Sprintf("%d judged, %d refused, %d lost", s.Counts[judged], s.Counts[limited], s.Counts[lost])
}

// A desk is where a back end checks passwords: so many at a time, each for checkTime. No
// desk checks at once.
type desk chan struct{}

// checkTime and checkers make 400 checks a second, as many as one of two processors does
// with a hash that takes its time.
const (
	checkTime = 5 * time.Millisecond
	checkers  = 2
)

func (d desk) check() {
	if d == nil {
		return
	}
	d <- struct{}{}
	defer func() { <-d }()
	<-time.After(checkTime)
}

// windows are the 99th percentiles of logins in each length of time, and their median.
func windows(times []time.Duration, length time.Duration) (each []time.Duration, median time.Duration) {
	n := int(length / honestEvery)
	for chunk := range slices.Chunk(times, n) {
		if len(chunk) == n {
			each = append(each, p99(slices.Clone(chunk)).Round(100*time.Microsecond))
		}
	}
	sorted := slices.Sorted(slices.Values(each))
	return each, sorted[len(sorted)/2]
}

// TestPacedSpray is 50,000 tries from 2,000 addresses, at a rate that a back end cannot
// check: honest users feel that where nobody guards it. The machine has to be able to
// carry it, and should have nothing else to do.
func TestPacedSpray(t *testing.T) {
	if os.Getenv("USHER_LONG") == "" {
		t.Skip("takes eight minutes; set USHER_LONG=1")
	}
	const users, window = 100, 5 * time.Second
	during := map[string]time.Duration{}
	for _, tt := range []struct {
		name, head             string
		tls                    bool
		tries, addresses, rate int
	}{
		{"guard", "", false, 50000, 2000, 500},
		{"guard, within what back ends can check", "", false, 50000, 2000, 250},
		{"no guard", "[guard]\nenabled = false\n", false, 20000, 2000, 500},
		{"guard, TLS", "", true, 10000, 400, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := stormyAt(t, tt.head, make(desk, checkers))
			honest(t, p, users, lapsed(users*honestEvery*5/4)) // all have been here
			times, _ := honestTimes(p, users, lapsed(4*window))
			each, before := windows(times, window)
			t.Logf("before: p99 of each %v %v, median %v", window, each, before)
			port := portIMAP
			if tt.tls {
				port = portIMAPS
			}
			guesses := p.guesses.Load()
			heap := p.metric(t, "go_memstats_heap_inuse_bytes")
			cpu := p.metric(t, "process_cpu_seconds_total")
			began := time.Now()
			s, done := spray{Address: p.addr(port), TLS: tt.tls, Tries: tt.tries, Addresses: tt.addresses, Rate: tt.rate, Within: 20 * time.Second, Nice: 10}.start(t)
			times, out := honestTimes(p, users, done)
			took := time.Since(began)
			each, stormed := windows(times, window)
			during[tt.name] = stormed
			t.Logf("during: %v, median %v, %.2f-fold; %d of %d did not get in", each, stormed, float64(stormed)/float64(before), len(out), len(times))
			if tt.head == "" && len(out) > 0 {
				t.Errorf("of the honest %d did not get in: %s", len(out), out[0])
			}
			reached := p.guesses.Load() - guesses
			rate := float64(tt.tries) / s.Took.Seconds()
			t.Logf("%d tries of %d addresses, %.0f/s, in %v: %v; %d reached the back end, %.2f of an address's %d", tt.tries, tt.addresses, rate,
				took.Round(time.Second), s, reached, float64(reached)/float64(tt.addresses), tt.tries/tt.addresses)
			t.Logf("usher took %.1f s of processor time, %.2f ms a try and login; heap in use %.1f MB before, %.1f MB after",
				p.metric(t, "process_cpu_seconds_total")-cpu, 1000*(p.metric(t, "process_cpu_seconds_total")-cpu)/float64(tt.tries+len(times)),
				heap/1e6, p.metric(t, "go_memstats_heap_inuse_bytes")/1e6)
			if rate < 0.9*float64(tt.rate) {
				t.Errorf("the machine cannot carry %d tries/s: the figures say nothing", tt.rate)
			} else if tt.head == "" && stormed > 2*before {
				t.Errorf("p99 is %v, before it was %v", stormed, before)
			}
		})
	}
	if without, ran := during["no guard"]; ran && without < during["guard"] {
		t.Errorf("without a guard p99 is %v, with it %v", during["no guard"], during["guard"])
	}
}
