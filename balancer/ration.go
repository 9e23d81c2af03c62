package balancer

import (
	"sync"
	"time"
)

// refusalLines is how many sessions a second are logged of those that were refused
// without being tried, each with the line of its login: enough to see who it is. A
// spray has hundreds, which tell nothing more and fill the disk.
const refusalLines = 20

// A ration bounds the lines of one kind.
type ration struct {
	mu     sync.Mutex
	second int64
	said   int
	unsaid int
}

// take says whether there may be one more, and how many there were not before it.
func (r *ration) take(now time.Time) (ok bool, unsaid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := now.Unix(); s != r.second {
		r.second, r.said = s, 0
	}
	if r.said >= refusalLines {
		r.unsaid++
		return false, 0
	}
	r.said++
	unsaid, r.unsaid = r.unsaid, 0
	return true, unsaid
}
