package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher.example/cluster/place"
	"usher.example/health"
)

// sealOf finds what is sealed with a version.
func sealOf(v Vault, by string) Seal {
	for _, s := range v.Seals {
		if s.By == by {
			return s
		}
	}
	return Seal{}
}

// TestVault: a node that is alone tells what it has stored. Without the key of that it
// serves, is degraded, and says what is missing and what to do, until all is stored anew.
func TestVault(t *testing.T) {
	o := FleetOptions{State: t.TempDir(), KickDelay: -1}
	s, end := startNode(t, o, mainPool(place.Shared, 1))
	await(t, s)
	put(t, s, "a/key", "private")
	put(t, s, "a/crt", "public")
	until(t, "the first keys of tickets", func() bool { return s.f.TicketEpoch() > 0 })
	if err := s.f.Lock(t.Context(), "order a"); err != nil {
		t.Fatal(err)
	}
	v := s.f.Overview().Vault
	by := s.sealedBy()[0]
	if is := sealOf(v, by); v.Values != 2 || v.Octets == 0 || v.MaxOctets < v.Octets || len(v.Seals) != 1 || !is.Used || is.Values != 2 || is.Tickets != v.Tickets.Keys {
		t.Errorf("got %+v", v)
	}
	if len(v.Locks) != 1 || v.Locks[0] != (LockState{"order a", s.f.o.Node}) {
		t.Errorf("locks: %+v", v.Locks)
	}
	if tk := v.Tickets; tk.Epoch != s.f.TicketEpoch() || tk.Keys < 2 || tk.Unopened != 0 || tk.Since.IsZero() {
		t.Errorf("tickets: %+v", tk)
	}
	if why := s.f.Degraded(); len(why) > 0 {
		t.Errorf("degraded: %q", why)
	}
	end()

	if err := os.Remove(filepath.Join(o.State, sealerFile)); err != nil {
		t.Fatal(err)
	}
	s, end = startNode(t, o, mainPool(place.Shared, 1))
	defer end()
	await(t, s)
	s.login(t, "joe")
	var why string
	until(t, "the missing key to be told", func() bool {
		why = strings.Join(health.Texts(s.f.Degraded()), "; ")
		return strings.Contains(why, "cannot be opened")
	})
	for _, want := range []string{"2 are sealed with the version " + by, sealerFile, "backup"} {
		if !strings.Contains(why, want) {
			t.Errorf("no %q in %q", want, why)
		}
	}
	if is := sealOf(s.f.Overview().Vault, by); !is.Unknown || is.Values != 2 {
		t.Errorf("got %+v", s.f.Overview().Vault)
	}
	put(t, s, "a/key", "obtained anew")
	put(t, s, "a/crt", "obtained anew")
	until(t, "all to be well", func() bool { return len(s.f.Degraded()) == 0 })
}

// TestVaultOfAFleet follows a rotation: what is sealed with the version before goes to
// nothing, which is when it may be dropped. Dropped at once by a restart it is missed.
func TestVaultOfAFleet(t *testing.T) {
	old, next := NewSecret(), NewSecret()
	o := FleetOptions{
		Fleet: "test", Node: "edge-1", Voters: []string{"edge-1"}, Bind: "127.0.0.1:0", Secrets: []Secret{old}, State: t.TempDir(), KickDelay: -1,
	}
	s, end := startNode(t, o, mainPool(place.Shared, 1))
	await(t, s)
	put(t, s, "a/key", "private")
	until(t, "the first keys of tickets", func() bool { return s.f.TicketEpoch() > 0 })
	if is := sealOf(s.f.Overview().Vault, old.Print()); is != (Seal{By: old.Print(), Used: true, Values: 1, Tickets: 2, MapKey: true}) {
		t.Errorf("got %+v", is)
	}
	end()

	o.Secrets = []Secret{next}
	s, end = startNode(t, o, mainPool(place.Shared, 1))
	until(t, "the missing version to be told", func() bool {
		why := strings.Join(health.Texts(s.f.Degraded()), "; ")
		return strings.Contains(why, old.Print()) && strings.Contains(why, next.Print()) && strings.Contains(why, "secret file")
	})
	if why := strings.Join(health.Texts(s.f.Reasons()), "; "); !strings.Contains(why, "users cannot be placed") || !strings.Contains(why, next.Print()) {
		t.Errorf("not ready: %q", why)
	}
	end()

	o.Secrets = []Secret{next, old}
	s, end = startNode(t, o, mainPool(place.Shared, 1))
	defer end()
	await(t, s)
	until(t, "all to be sealed with the next version", func() bool {
		v := s.f.Overview().Vault
		is := sealOf(v, next.Print())
		return sealOf(v, old.Print()) == (Seal{By: old.Print()}) && is.Values == 1 && is.Tickets == v.Tickets.Keys && is.MapKey
	})
	if why := s.f.Degraded(); len(why) > 0 {
		t.Errorf("degraded: %q", why)
	}
	has(t, s, "a/key", "private")
}
