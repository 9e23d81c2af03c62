package handshake_test

import (
	"crypto/tls"
	"testing"

	"usher.example/balancer/handshake"
	"usher.example/balancer/record"
)

// TestTicketsAreCollectedUntilData: a client takes what comes ahead of the first data, and
// lets crypto/tls go then.
func TestTicketsAreCollectedUntilData(t *testing.T) {
	server, client := configs()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	c, p := shake(t, record.Client, handshake.Prepare(client, handshake.Options{}), server)
	if !c.Collecting() {
		t.Fatal("not collecting after the handshake")
	}
	carry(t, p, c, []byte("* OK\r\n"))
	if c.Collecting() {
		t.Error("still collecting after data")
	}
	if _, ok := client.ClientSessionCache.Get("peer"); !ok {
		t.Error("no session in the cache")
	}
	client.ClientSessionCache = nil
	if c, _ = shake(t, record.Client, handshake.Prepare(client, handshake.Options{}), server); c.Collecting() {
		t.Error("collecting without a cache")
	}
}

// ticket is a NewSessionTicket (RFC 8446 §4.6.1).
func ticket(lifetime byte) []byte {
	return []byte{4, 0, 0, 16, 0, 0, 0, lifetime, 1, 2, 3, 4, 1, 0, 0, 2, 't', 't', 0, 0}
}

// TestOddTickets has a server send tickets in every way before its greeting. What
// crypto/tls thinks of them changes nothing for the session.
func TestOddTickets(t *testing.T) {
	good := ticket(100)
	far := append([]byte{}, good...)
	far[4] = 0xff // a life of more than a week, which is forbidden
	bad := append([]byte{}, good...)
	bad[12] = 200 // the nonce runs over what follows
	many := make([][]byte, 30)
	for i := range many {
		many[i] = good
	}
	for _, tt := range []struct {
		name    string
		records [][]byte
		resume  bool
	}{
		{"none", nil, false},
		{"one", [][]byte{good}, true},
		{"two in a record", [][]byte{append(append([]byte{}, good...), good...)}, true},
		{"in three pieces", [][]byte{good[:2], good[2:9], good[9:]}, true},
		{"many", many, true}, // crypto/tls takes some and has enough
		{"too long a life", [][]byte{far}, false},
		{"malformed", [][]byte{bad}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, client := configs()
			server.SessionTicketsDisabled = true
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			s, c := bothOurs(t, handshake.Prepare(server, handshake.Options{}), handshake.Prepare(client, handshake.Options{}))
			e := detach(t, s)
			a, err := e.Writer.AEAD()
			if err != nil {
				t.Fatal(err)
			}
			var out []byte
			for _, body := range tt.records {
				if out, err = record.Seal(out, &e.Writer.Keys, a, record.TypeHandshake, body); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := e.Raw.Write(out); err != nil {
				t.Fatal(err)
			}
			e.write(t, []byte("* OK\r\n"))
			got := make([]byte, 10)
			if n, err := c.Read(got); err != nil || string(got[:n]) != "* OK\r\n" {
				t.Fatalf("got %q, %v", got[:n], err)
			}
			if _, ok := client.ClientSessionCache.Get("peer"); ok != tt.resume {
				t.Errorf("a session is kept: %v, want %v", ok, tt.resume)
			}
			if _, err := c.Write([]byte("a1 NOOP\r\n")); err != nil {
				t.Fatal(err)
			}
			if got := e.read(t); string(got) != "a1 NOOP\r\n" {
				t.Errorf("server got %q", got)
			}
		})
	}
}
