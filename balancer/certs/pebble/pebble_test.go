package pebble_test

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"usher.example/balancer/certs/pebble"
)

// directory is what the CA says that it can do.
func directory(t *testing.T, s *pebble.Server) map[string]any {
	t.Helper()
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.Pool}, DisableKeepAlives: true,
	}}
	resp, err := c.Get(s.Directory)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var d map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTwoSideBySide(t *testing.T) {
	plain := pebble.New(t, pebble.Options{Hosts: map[string][]netip.Addr{
		"mail.example.org": {netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("::1")},
	}})
	bound := pebble.New(t, pebble.Options{EAB: map[string]string{"kid": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}})
	for s, want := range map[*pebble.Server]bool{plain: false, bound: true} {
		meta, _ := directory(t, s)["meta"].(map[string]any)
		if got, _ := meta["externalAccountRequired"].(bool); got != want {
			t.Errorf("external account required: got %v, want %v", got, want)
		}
	}
	if plain.Roots().Equal(bound.Roots()) {
		t.Error("two CAs have one root")
	}
	before := plain.Roots()
	plain.Restart()
	if plain.Roots().Equal(before) {
		t.Error("a restarted CA has its old root")
	}
	if n := plain.Orders() + plain.Accounts(); n != 0 {
		t.Errorf("%d orders and accounts, and nobody was there", n)
	}
}
