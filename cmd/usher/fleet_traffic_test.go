package main_test

import (
	"fmt"
	"sync"
	"time"
)

// loadEvery is the time between two logins of one worker of traffic.
const loadEvery = 40 * time.Millisecond

// A traffic is users who log in and out again and again, one worker for each node.
type traffic struct {
	stop    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex // guards what follows
	logins  int
	slowest time.Duration
	failed  []string
	down    map[*edge]bool // being cut: what fails there is not counted
}

// load begins one.
func (r *rig) load(users int, nodes ...*edge) *traffic {
	l := &traffic{stop: make(chan struct{}), down: map[*edge]bool{}}
	for w, e := range nodes {
		l.running.Go(func() {
			tick := time.NewTicker(loadEvery)
			defer tick.Stop()
			for i := w; ; i++ {
				select {
				case <-l.stop:
					return
				case <-tick.C:
				}
				l.once(e, fmt.Sprintf("load%02d", i%users))
			}
		})
	}
	return l
}

// once logs a user in.
func (l *traffic) once(e *edge, user string) {
	l.mu.Lock()
	before := l.down[e]
	l.mu.Unlock()
	began := time.Now()
	ok, verdict := e.tries(user)
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case ok:
		l.logins++
		l.slowest = max(l.slowest, took)
	case before || l.down[e]:
	default:
		l.failed = append(l.failed, fmt.Sprintf("%s %s by %s after %v: %s", began.Format("15:04:05.000"), user, e.name, took.Round(time.Millisecond), verdict))
	}
}

// cut says whether a node is being cut off.
func (l *traffic) cut(e *edge, down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down[e] = down
}

// soFar returns the number of logins, and begins to look for the slowest anew.
func (l *traffic) soFar() (logins int, slowest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	logins, slowest, l.slowest = l.logins, l.slowest.Round(time.Millisecond), 0
	return
}

// end ends the load and fails the test for each login that failed.
func (l *traffic) end(r *rig) (logins int) {
	r.t.Helper()
	close(l.stop)
	l.running.Wait()
	for i, f := range l.failed {
		if i == 10 {
			r.t.Errorf("and %d more", len(l.failed)-i)
			break
		}
		r.t.Error(f)
	}
	return l.logins
}
