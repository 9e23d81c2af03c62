package cluster

import (
	"testing"

	"usher.example/cluster/table"
)

// TestStaleWhileSecretsChange: a rotation of the secret may fall into a look for values
// that are to be sealed anew.
func TestStaleWhileSecretsChange(t *testing.T) {
	f := &Fleet{table: table.New(), dir: &directory{}}
	lists := [][]Secret{{NewSecret()}, {NewSecret(), NewSecret(), NewSecret()}}
	f.secrets.Store(&lists[0])
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				f.secrets.Store(&lists[i%len(lists)])
			}
		}
	}()
	for range 20_000 {
		f.stale() // panicked
	}
	close(stop)
	<-stopped
}
