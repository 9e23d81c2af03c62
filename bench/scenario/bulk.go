package scenario

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"usher.example/bench/load"
	"usher.example/bench/result"
)

// A stream is one way to move a lot.
type stream struct {
	up       bool
	security string
	sessions int
}

func (s stream) name() string {
	way := "down"
	if s.up {
		way = "up"
	}
	return way + "-" + s.security + "-" + strconv.Itoa(s.sessions)
}

// bulk are downloads and uploads, of one session and of eight.
func bulk(p Params) Course {
	c := Course{Name: "throughput", Repetitions: p.Repetitions, Weight: 6 * time.Second}
	for _, security := range []string{"tls", "plain"} {
		for _, up := range []bool{false, true} {
			for _, sessions := range []int{1, 8} {
				s := stream{up, security, sessions}
				way := "download"
				if up {
					way = "upload"
				}
				c.Parts = append(c.Parts, Part{
					Name: s.name(), Doc: fmt.Sprintf("%s of %d session(s), %s", way, sessions, security),
					Needs: []string{"imap " + security},
					Run:   func(ctx context.Context, r *Round) error { return throughput(ctx, r, s) },
				})
			}
		}
	}
	return c
}

// throughput moves Bulk octets over sessions that are logged in before, in pieces
// so large that asking for them costs nothing, and ends early after BulkTime.
func throughput(ctx context.Context, r *Round, s stream) error {
	sessions, err := r.enterMany(ctx, r.service("imap", s.security, nil), s.sessions)
	defer closeAll(sessions)
	if err != nil {
		return err
	}
	move := func(c *load.Client, n int64) error {
		if s.up {
			return c.Upload(n)
		}
		return c.Download(n)
	}
	for _, c := range sessions { // what grows with use has grown
		if err := move(c, min(r.Params.Piece, 8e6)); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
	}
	pieces := max(int(r.Params.Bulk/r.Params.Piece), s.sessions)
	rep, octets := load.Report{}, &atomic.Int64{}
	used, _, err := r.metered(func() error {
		rep = r.closed(ctx, s.sessions, pieces, r.Params.BulkTime, func(_ context.Context, worker, _ int) error {
			err := move(sessions[worker], r.Params.Piece)
			if err == nil {
				octets.Add(r.Params.Piece)
			}
			return err
		})
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if rep.Failed > 0 { // a session that broke leaves a stream of which nobody knows the rest
		return fmt.Errorf("%d of %d transfers failed, the first: %w", rep.Failed, rep.Failed+rep.Done, rep.First)
	}
	r.put("cpu_s_per_gb", "s/GB", result.Lower, each(used, int(octets.Load()))*1e3) // µs an octet are 1e-6 × 1e9 s/GB
	r.put("mb_per_s", "MB/s", result.Higher, float64(octets.Load())/1e6/rep.Elapsed.Seconds())
	return nil
}

// enterMany logs in n users at once, with as many at a time as a target needs
// that stalls: setting up is not measured.
func (r *Round) enterMany(ctx context.Context, s load.Service, n int) ([]*load.Client, error) {
	bounded, stop := context.WithTimeout(ctx, r.Params.Setup)
	defer stop()
	sessions := make([]*load.Client, n)
	rep := load.Closed(bounded, min(n, r.Params.StalledWorkers), n, func(_ context.Context, _, i int) (err error) {
		sessions[i], err = enter(ctx, s, i)
		return err
	})
	switch {
	case rep.Done == n:
		return sessions, nil
	case rep.First != nil:
		return sessions, fmt.Errorf("%d of %d sessions were set up, %d failed, the first: %w", rep.Done, n, rep.Failed, rep.First)
	case ctx.Err() != nil:
		return sessions, ctx.Err()
	}
	return sessions, fmt.Errorf("only %d of %d sessions were set up in %s", rep.Done, n, r.Params.Setup)
}

// closeAll closes what there is; some may be nil.
func closeAll(sessions []*load.Client) {
	for _, c := range sessions {
		if c != nil {
			c.Close()
		}
	}
}
