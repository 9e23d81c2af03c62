package admin_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"usher.example/balancer/admin"
)

func TestReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r admin.Reloads
		start := time.Now()
		if got, want := r.Status(), (admin.ConfigStatus{}); got != want {
			t.Errorf("before the start: got %+v", got)
		}
		r.Record(nil)
		if got, want := r.Status(), (admin.ConfigStatus{Loaded: start, Successful: true}); got != want {
			t.Errorf("start: got %+v, want %+v", got, want)
		}
		time.Sleep(time.Minute)
		r.Record(errors.New("3:1: no"))
		want := admin.ConfigStatus{Loaded: start, Failed: start.Add(time.Minute), Error: "3:1: no"}
		if got := r.Status(); got != want {
			t.Errorf("bad reload: got %+v, want %+v", got, want)
		}
		time.Sleep(time.Minute)
		r.Record(nil)
		want = admin.ConfigStatus{Loaded: start.Add(2 * time.Minute), Successful: true}
		if got := r.Status(); got != want {
			t.Errorf("good reload: got %+v, want %+v", got, want)
		}
	})
}
