package peers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	// secretSize is that of a fleet's secret.
	secretSize = 32

	// maxVoters is how many nodes of a fleet vote at most.
	maxVoters = 5
)

// Fleet starts n ushers that place users together, each at a loopback address of
// its own, and returns when all of them serve. Up to five vote, of an even number
// all but one. They share the machine: give each its part of the Workers.
func Fleet(ctx context.Context, site Site, n int) (nodes []*Target, err error) {
	if n < 1 {
		return nil, errors.New("a fleet has at least one node")
	}
	peer := usher("usher", "auto")
	// It is read at the start and whenever usher is told to read it again; it goes
	// with the site's directory.
	secret := filepath.Join(site.Dir, fmt.Sprintf("fleet-%d.secret", time.Now().UnixNano()))
	var key [secretSize]byte
	_, _ = rand.Read(key[:]) // never fails
	if err := os.WriteFile(secret, []byte(base64.StdEncoding.EncodeToString(key[:])+"\n"), 0o600); err != nil {
		return nil, err
	}
	places := make([]*place, 0, n)
	defer func() {
		if err != nil {
			for _, p := range places {
				err = p.failed(err)
			}
		}
	}()
	for i := range n {
		p, err := site.open(fmt.Sprintf("usher-%d", i+1))
		if err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	voters := min(n, maxVoters)
	if voters%2 == 0 {
		voters--
	}
	for _, p := range places {
		if err := (node{place: p, DataPath: "auto", Nodes: places, Voters: places[:voters], Secret: secret}).start(); err != nil {
			return nil, err
		}
	}
	for _, p := range places {
		t, err := p.target(ctx, peer)
		if err != nil {
			return nil, err
		}
		if err := p.settled(ctx); err != nil {
			return nil, err
		}
		nodes = append(nodes, t)
	}
	return nodes, nil
}

// settled waits until usher says that it is ready for more clients, which in a fleet is when it
// has heard of the others.
func (p *place) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		err := p.askReady(ctx)
		if err == nil {
			return nil
		}
		if dead := p.group.Alive(); dead != nil {
			return dead
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-time.After(readyPause):
		}
	}
}

func (p *place) askReady(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.HTTP()+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}
