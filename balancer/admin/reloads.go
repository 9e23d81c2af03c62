package admin

import (
	"sync"
	"time"
)

// Reloads remembers how the attempts to put a configuration into force went.
// The zero value works, for any number of goroutines.
type Reloads struct {
	mu        sync.Mutex // guards all below
	good, bad uint64
	state     ConfigStatus
}

// ConfigStatus is how the configuration in force came about.
type ConfigStatus struct {
	// Loaded is when a configuration was last put into force.
	Loaded time.Time `json:"loaded,omitzero"`
	// Successful tells of the last attempt. If it failed, then at Failed, and
	// Error says why; the configuration of Loaded goes on.
	Successful bool      `json:"successful"`
	Failed     time.Time `json:"failed,omitzero"`
	Error      string    `json:"error,omitempty"`
}

// Record notes the end of an attempt, the first one at the start included. A
// nil error means that the new configuration is in force.
func (r *Reloads) Record(err error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.good++
		r.state = ConfigStatus{Loaded: now, Successful: true}
		return
	}
	r.bad++
	r.state.Successful, r.state.Failed, r.state.Error = false, now, err.Error()
}

// Status says how the last attempt went.
func (r *Reloads) Status() ConfigStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// counts returns the attempts that went well and those that did not.
func (r *Reloads) counts() (good, bad uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.good, r.bad
}
