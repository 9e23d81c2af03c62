package certs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// putChallenge has a challenge in the storage, as another node's order does.
func (r *rig) putChallenge(i Issuer, name, token string) {
	r.t.Helper()
	data, err := json.Marshal(acme.Challenge{Type: string(HTTP01), Token: token, KeyAuthorization: token + ".print", Identifier: acme.Identifier{Type: "dns", Value: name}})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.storage.Store(r.t.Context(), challengeKey(i.key(), name), data); err != nil {
		r.t.Fatal(err)
	}
}

// get asks for a challenge as a CA does.
func (r *rig) get(name, token string) (status int, body string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), doorTime/3)
	defer cancel()
	h, _ := r.doors.Addresses()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h+challengePath+token, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Host = name
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, strings.TrimSpace(string(data))
}

// Strangers who hold as many connections open as a door takes, from one address or
// from many, keep no CA out.
func TestDoorStaysOpen(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]func(k int) byte{
		"one address": func(int) byte { return 1 },
		"many":        func(k int) byte { return byte(2 + k/maxSameCaller) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := nowhere()
			r := newRig(t, newMemory(), anyPort, 0)
			r.wants(acmeOf(i), nil, []string{"*.example.org"}) // which orders nothing by itself
			r.putChallenge(i, "a.example.org", "token")
			h, _ := r.doors.Addresses()
			for k := range maxCallers + 1 {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, from(k))}}
				c, err := d.DialContext(t.Context(), "tcp", h)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
			if status, body := r.get("a.example.org", "token"); status != http.StatusOK || body != "token.print" {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
}

// A door has so many connections, and so many of one address, and it is the oldest
// that goes.
func TestFew(t *testing.T) {
	f := new(few)
	at := func(ip string) *caller {
		return &caller{of: f, from: neighbourhood(net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1)))}
	}
	first := at("192.0.2.1")
	if old := f.admit(first); old != nil {
		t.Error("somebody had to go for the first")
	}
	for k := range maxSameCaller {
		if old := f.admit(at(fmt.Sprintf("2001:db8::%x", k+1))); old != nil {
			t.Errorf("somebody had to go for the %d. of a network", k+1)
		}
	}
	if old := f.admit(at("2001:db8::ffff")); old == nil || old.from.String() != "2001:db8::/64" {
		t.Errorf("for one too many of a network goes %v", old)
	}
	for k := range maxCallers - maxSameCaller - 1 {
		if old := f.admit(at(fmt.Sprintf("198.51.100.%d", k))); old != nil {
			t.Errorf("somebody had to go for the %d. of all", len(f.open))
		}
	}
	if old := f.admit(at("::ffff:192.0.2.1")); old != first || len(f.open) != maxCallers {
		t.Errorf("for one too many goes %v, and there are %d", old, len(f.open))
	}
}

// Names that strangers make up take no slot from a challenge that is there.
func TestHeard(t *testing.T) {
	t.Parallel()
	i := nowhere()
	r := newRig(t, newMemory(), anyPort, 0)
	r.wants(acmeOf(i), nil, []string{"*.c.example.org"})
	until(t, "the storage to be watched", func() bool {
		r.storage.mu.Lock()
		defer r.storage.mu.Unlock()
		return len(r.storage.watchers) > 0
	})
	stop := make(chan struct{})
	defer close(stop)
	find := r.registrar.lookups.find
	r.registrar.lookups.find = func(ctx context.Context, name string) (*dare, error) {
		if strings.HasPrefix(name, "x") {
			<-stop // the leader is busy
			return nil, fs.ErrNotExist
		}
		return find(ctx, name)
	}
	for k := range maxLookups {
		if _, err := r.registrar.lookups.join(fmt.Sprintf("x%d.c.example.org", k), false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.registrar.dare(t.Context(), "x.c.example.org"); !errors.Is(err, errBusy) {
		t.Fatalf("got %v, want %v", err, errBusy)
	}
	r.putChallenge(i, "a.c.example.org", "token")
	if status, body := r.get("a.c.example.org", "token"); status != http.StatusOK || body != "token.print" {
		t.Errorf("got %d %s", status, body)
	}
}

// A door moves from all addresses to one and back, and stays where it was if it cannot.
func TestDoorMoves(t *testing.T) {
	t.Parallel()
	for range 10 {
		if doorMoves(t) {
			return
		}
	}
	t.Fatal("each port that was free at one address was taken at another")
}

// doorMoves is false where somebody else has the port at another address: it is chosen
// where it is free at one.
func doorMoves(t *testing.T) bool {
	t.Helper()
	d := &Doors{Keeper: New(Options{})}
	defer d.Close()
	if err := d.Apply("127.0.0.2:0", ""); err != nil {
		t.Fatal(err)
	}
	first, _ := d.Addresses()
	port := strconv.Itoa(int(netip.MustParseAddrPort(first).Port()))
	for _, address := range []string{":" + port, "127.0.0.1:" + port, "0.0.0.0:" + port} {
		if err := d.Apply(address, ""); errors.Is(err, syscall.EADDRINUSE) {
			return false
		} else if err != nil {
			t.Fatalf("to %s: %v", address, err)
		}
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatalf("at %s: %v", address, err)
		}
		c.Close()
	}
	if err := d.Apply("127.0.0.1:"+port, ""); errors.Is(err, syscall.EADDRINUSE) {
		return false
	} else if err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", "127.0.0.3:"+port)
	if errors.Is(err, syscall.EADDRINUSE) {
		return false
	} else if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := d.Apply("0.0.0.0:"+port, ""); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("to all addresses, of which one is taken: %v", err)
	}
	if at, _ := d.Addresses(); at != "127.0.0.1:"+port {
		t.Errorf("it is at %q", at)
	}
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatalf("where it was: %v", err)
	}
	c.Close()
	return true
}

// A lookup that goes on when the node ends is ended, and none begins after that.
func TestLookupsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := idle(t, newMemory(), acmeOf(nowhere()), []string{"a.example.org"}, nil)
		reading := false
		r.lookups.find = func(ctx context.Context, _ string) (*dare, error) {
			reading = true
			<-ctx.Done()
			reading = false
			return nil, ctx.Err()
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.run(ctx); close(done) }()
		asked := make(chan error)
		go func() {
			_, err := r.dare(t.Context(), "a.example.org")
			asked <- err
		}()
		synctest.Wait()
		begin := time.Now()
		stop()
		<-done
		if took := time.Since(begin); took > 0 || reading {
			t.Errorf("the node ended after %v, and it reads on: %v", took, reading)
		}
		if err := <-asked; !errors.Is(err, context.Canceled) {
			t.Errorf("who asked got %v", err)
		}
		if _, err := r.dare(t.Context(), "a.example.org"); !errors.Is(err, errOver) {
			t.Errorf("who asks later gets %v", err)
		}
	})
}
