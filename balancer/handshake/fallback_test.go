package handshake_test

import (
	"crypto/tls"
	"os"
	"os/exec"
	"strings"
	"testing"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// stays holds what is true of every session that stays on crypto/tls: it works.
func stays(t *testing.T, role record.Role, cfg *handshake.Config, theirs *tls.Config, stats *handshake.Stats, want handshake.Reason) {
	t.Helper()
	before := stats.Done(want)
	c, p := shake(t, role, cfg, theirs)
	if c.Detachable() || c.TLS() == nil || c.Reason() != want {
		t.Fatalf("reason %v, want %v", c.Reason(), want)
	}
	if _, ok := c.Detach(); ok {
		t.Error("it could be detached")
	}
	if got := stats.Done(want) - before; got != 1 {
		t.Errorf("%d counted, want 1", got)
	}
	talk(t, c, p)
}

func TestUncoveredStaysOnCryptoTLS(t *testing.T) {
	only := func(v uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }
	}
	suite := func(s uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{s} }
	}
	for _, tt := range []struct {
		name   string
		set    func(*tls.Config)
		copy   bool
		reason handshake.Reason
	}{
		{"TLS 1.0", only(tls.VersionTLS10), false, handshake.Version},
		{"TLS 1.1", only(tls.VersionTLS11), false, handshake.Version},
		{"CBC", suite(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA), false, handshake.Suite},
		{"RSA key exchange", suite(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), false, handshake.Suite},
		{"as configured", only(tls.VersionTLS13), true, handshake.Configured},
		{"as configured, TLS 1.2", only(tls.VersionTLS12), true, handshake.Configured},
	} {
		for name, role := range roles {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				server, client := configs()
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				tt.set(server)
				tt.set(client)
				ours, theirs := server, client
				if role == record.Client {
					ours, theirs = client, server
				}
				var stats handshake.Stats
				cfg := handshake.Prepare(ours, handshake.Options{Copy: tt.copy, Stats: &stats})
				for range 2 { // the second is resumed
					stays(t, role, cfg, theirs, &stats, tt.reason)
				}
			})
		}
	}
}

// TestWhatCannotBeProvedIsNotUsed breaks one thing at a time.
func TestWhatCannotBeProvedIsNotUsed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		spoil   func(*handshake.Wire)
		reasons [2]handshake.Reason // of TLS 1.2 and 1.3
	}{
		{"other secrets", handshake.OtherSecrets, [2]handshake.Reason{handshake.SelfCheck, handshake.SelfCheck}},
		{"no secrets", handshake.NoSecrets, [2]handshake.Reason{handshake.Secrets, handshake.Secrets}},
		{"an odd line", handshake.OddLine, [2]handshake.Reason{handshake.Secrets, handshake.Secrets}},
		{"another flight", handshake.OtherFlight, [2]handshake.Reason{handshake.SelfCheck, handshake.SelfCheck}},
		{"no flight", handshake.NoFlight, [2]handshake.Reason{handshake.SelfCheck, handshake.SelfCheck}},
		{"a cut flight", handshake.CutFlight, [2]handshake.Reason{handshake.SelfCheck, handshake.SelfCheck}},
		{"a long flight", handshake.LongFlight, [2]handshake.Reason{handshake.SelfCheck, handshake.SelfCheck}},
		{"a record too many", handshake.MoreFlight, [2]handshake.Reason{handshake.SelfCheck, handshake.SelfCheck}},
		{"another random", handshake.OtherRandom, [2]handshake.Reason{handshake.Secrets, handshake.Covered}},
	} {
		for name, role := range roles {
			for i, version := range []uint16{record.TLS12, record.TLS13} {
				t.Run(tt.name+"/"+name+"/"+tls.VersionName(version), func(t *testing.T) {
					want := tt.reasons[i]
					if want == handshake.Covered {
						t.Skip("TLS 1.3 derives nothing from it")
					}
					if role == record.Client && tt.name == "another random" {
						want = handshake.SelfCheck // it was the server's
					}
					server, client := configs()
					client.MaxVersion = version
					ours, theirs := server, client
					if role == record.Client {
						ours, theirs = client, server
					}
					var stats handshake.Stats
					cfg := handshake.Prepare(ours, handshake.Options{Stats: &stats})
					cfg.Spoil(tt.spoil)
					stays(t, role, cfg, theirs, &stats, want)
					if stats.Done(handshake.Covered) != 0 {
						t.Error("counted as covered")
					}
				})
			}
		}
	}
}

// TestForeignSessionIsNotResumed meets sessions that were made without us, whose
// secret we do not have: TLS 1.2 must not resume them, or it would stay on
// crypto/tls for ever.
func TestForeignSessionIsNotResumed(t *testing.T) {
	for name, role := range roles {
		for _, version := range []uint16{record.TLS12, record.TLS13} {
			t.Run(name+"/"+tls.VersionName(version), func(t *testing.T) {
				server, client := configs()
				client.MaxVersion = version
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				ours, theirs := server, client
				if role == record.Client {
					ours, theirs = client, server
				}
				tickets := new(handshake.Tickets)
				without := handshake.Prepare(ours, handshake.Options{Tickets: tickets, Copy: true})
				c, p := shake(t, role, without, theirs)
				talk(t, c, p)

				with := handshake.Prepare(ours, handshake.Options{Tickets: tickets})
				for i := range 2 {
					c, p = shake(t, role, with, theirs)
					// A server of TLS 1.3 needs no more than the ticket says.
					want := i > 0 || role == record.Server && version == record.TLS13
					if got := c.ConnectionState().DidResume; got != want || !c.Detachable() {
						t.Errorf("resumed %v, want %v; reason %v", got, want, c.Reason())
					}
					talk(t, c, p)
				}
			})
		}
	}
}

// TestFIPS runs the one below where Go has FIPS 140-3 switched on.
func TestFIPS(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestInFIPSMode$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=on")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestInFIPSMode") {
		t.Fatalf("%v:\n%s", err, out)
	}
}

func TestInFIPSMode(t *testing.T) {
	if record.Usable() {
		t.Skip("Go is not in FIPS 140-3 mode; TestFIPS starts this where it is")
	}
	server, client := configs()
	client.ServerName = "peer"
	var stats handshake.Stats
	stays(t, record.Server, handshake.Prepare(server, handshake.Options{Stats: &stats}), client, &stats, handshake.FIPS)
	stays(t, record.Client, handshake.Prepare(client, handshake.Options{Stats: &stats}), server, &stats, handshake.FIPS)
}

func TestReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range handshake.Reasons() {
		seen[r.String()] = true
	}
	if len(seen) != len(handshake.Reasons()) || seen["unknown"] || handshake.Reason(200).String() != "unknown" {
		t.Errorf("names %v", seen)
	}
}
