package rfc2136_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libdns/libdns"

	"usher.example/balancer/certs/dnstest"
	"usher.example/balancer/certs/rfc2136"
)

// writer may change the zones of the servers below; reader is known there.
var (
	writer = dnstest.Key{Name: "acme-update", Algorithm: "hmac-sha256", Secret: secret("writer of thirty-two octets here")}
	strong = dnstest.Key{Name: "acme-strong", Algorithm: "hmac-sha512", Secret: secret(strings.Repeat("sixty-four octets of a key......", 2))}
	middle = dnstest.Key{Name: "acme-middle", Algorithm: "hmac-sha384", Secret: secret("a middle key of a few more octets than thirty-two")}
	reader = dnstest.Key{Name: "reader", Algorithm: "hmac-sha256", Secret: secret("reader of thirty-two octets here")}
)

func secret(octets string) string { return base64.StdEncoding.EncodeToString([]byte(octets)) }

// servers are the real ones, alike: a zone in a zone, and one with neighbours
// that no call may touch.
var servers = map[string]func(testing.TB, dnstest.Options) *dnstest.Server{
	"BIND": dnstest.BIND,
	"Knot": dnstest.Knot,
}

func options() dnstest.Options {
	return dnstest.Options{
		Zones: []string{"example.org", "sub.example.org"},
		Records: []string{
			"_acme-challenge.mail.example.org. TXT neighbour",
			"_acme-challenge.moved.example.org. CNAME moved.elsewhere.example.",
			"*.wild.example.org. CNAME sub.example.org.", // another zone of the same server
			"away.example.org. NS ns.elsewhere.example.",
		},
		Keys:    []dnstest.Key{writer, strong, middle, reader},
		Writers: []string{writer.Name, strong.Name, middle.Name},
	}
}

// provider makes one for a server and a key, changed by the functions given.
func provider(t *testing.T, server string, key dnstest.Key, change ...func(*rfc2136.Options)) *rfc2136.Provider {
	t.Helper()
	parsed, err := rfc2136.ParseKey(fmt.Appendf(nil, "key %q {\n\talgorithm %s;\n\tsecret %q;\n};\n", key.Name, key.Algorithm, key.Secret))
	if err != nil {
		t.Fatal(err)
	}
	o := rfc2136.Options{Server: server, Key: parsed}
	for _, f := range change {
		f(&o)
	}
	p, err := rfc2136.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func txt(name, text string) []libdns.Record {
	return []libdns.Record{libdns.TXT{Name: name, Text: text}}
}

// wantTXT wants just these texts at a name.
func wantTXT(t *testing.T, server *dnstest.Server, name string, want ...string) {
	t.Helper()
	got := server.TXT(t, name)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("TXT of %s: got %q, want %q", name, got, want)
	}
}

func TestRealServers(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, options())
			for _, key := range []dnstest.Key{writer, middle, strong} {
				t.Run("adds and removes/"+key.Algorithm, func(t *testing.T) { addRemove(t, server, key) })
			}
			t.Run("two at one name", func(t *testing.T) { twoAtOnce(t, server) })
			t.Run("a zone in a zone", func(t *testing.T) { zoneInZone(t, server) })
			t.Run("a wildcard alias", func(t *testing.T) { wildcardAlias(t, server) })
			t.Run("refusals", func(t *testing.T) { refusals(t, server) })
		})
	}
}

// TestNarrowRules wants the rules that docs/certificates.md has to let the record
// be changed, and no other.
func TestNarrowRules(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options()
			o.Only = []string{"_acme-challenge.mail.example.org."}
			server := start(t, o)
			p := provider(t, server.Addr, writer)
			added, err := p.AppendRecords(t.Context(), "example.org", txt("_acme-challenge.mail", "text"))
			if err != nil {
				t.Fatal(err)
			}
			wantTXT(t, server, "_acme-challenge.mail.example.org", "neighbour", "text")
			if _, err := p.DeleteRecords(t.Context(), "example.org", added); err != nil {
				t.Error(err)
			}
			wantTXT(t, server, "_acme-challenge.mail.example.org", "neighbour")
			_, err = p.AppendRecords(t.Context(), "example.org", txt("_acme-challenge.imap", "text"))
			if err == nil || !strings.Contains(err.Error(), "REFUSED") && !strings.Contains(err.Error(), "NOTAUTH") && !strings.Contains(err.Error(), "BADKEY") {
				t.Errorf("got %v, want another name to be refused", err)
			}
			t.Log(err)
		})
	}
}

// addRemove wants what is added to be there, and only that to be taken away.
func addRemove(t *testing.T, server *dnstest.Server, key dnstest.Key) {
	const name = "_acme-challenge.mail.example.org"
	p := provider(t, server.Addr, key)
	record := libdns.RR{Name: "_acme-challenge.mail", Type: "TXT", Data: `odd \ " text`, TTL: time.Minute} // as certmagic hands it over
	added, err := p.AppendRecords(t.Context(), "example.org.", []libdns.Record{record})
	if err != nil {
		t.Fatal(err)
	}
	if len(added) != 1 || added[0].RR() != record {
		t.Errorf("added %v, want %v: certmagic finds it again by that", added, record)
	}
	wantTXT(t, server, name, "neighbour", `odd \\ \" text`) // as a zone file would have it
	if _, err := p.AppendRecords(t.Context(), "example.org.", added); err != nil {
		t.Errorf("add it again: %v", err)
	}
	if _, err := p.DeleteRecords(t.Context(), "example.org.", txt("_acme-challenge.mail", "not there")); err != nil {
		t.Errorf("remove what is not there: %v", err)
	}
	if _, err := p.DeleteRecords(t.Context(), "example.org.", added); err != nil {
		t.Fatal(err)
	}
	wantTXT(t, server, name, "neighbour")
}

// twoAtOnce is a name and its wildcard, whose challenges are answered at one
// name and at the same time, by two nodes.
func twoAtOnce(t *testing.T, server *dnstest.Server) {
	var texts []string
	var wg sync.WaitGroup
	for i := range 8 {
		text := fmt.Sprint("answer-", i)
		texts = append(texts, text)
		p := provider(t, server.Addr, writer)
		wg.Go(func() {
			if _, err := p.AppendRecords(t.Context(), "example.org.", txt("_acme-challenge", text)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantTXT(t, server, "_acme-challenge.example.org", texts...)
	for _, text := range texts[1:] {
		p := provider(t, server.Addr, writer)
		wg.Go(func() {
			if _, err := p.DeleteRecords(t.Context(), "example.org.", txt("_acme-challenge", text)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantTXT(t, server, "_acme-challenge.example.org", texts[0])
}

// zoneInZone wants the server's own zones to count, not what the caller believes.
func zoneInZone(t *testing.T, server *dnstest.Server) {
	p := provider(t, server.Addr, writer)
	if _, err := p.AppendRecords(t.Context(), "example.org", txt("_acme-challenge.imap.SUB", "below")); err != nil {
		t.Fatal(err)
	}
	wantTXT(t, server, "_acme-challenge.imap.sub.example.org", "below")
}

// wildcardAlias wants a CNAME that stands for all names to be in nobody's way: once
// the record is there, the name is no alias any more.
func wildcardAlias(t *testing.T, server *dnstest.Server) {
	p := provider(t, server.Addr, writer)
	for _, name := range []string{"_acme-challenge.mail", "_acme-challenge.a.b"} {
		added, err := p.AppendRecords(t.Context(), "example.org", txt(name+".wild", "text"))
		if err != nil {
			t.Fatal(err)
		}
		wantTXT(t, server, name+".wild.example.org", "text")
		if _, err := p.DeleteRecords(t.Context(), "example.org", added); err != nil {
			t.Error(err)
		}
		wantTXT(t, server, name+".wild.example.org")
	}
}

func refusals(t *testing.T, server *dnstest.Server) {
	wrong, unknown, weaker := writer, writer, writer
	wrong.Secret = reader.Secret
	unknown.Name = "nobody"
	weaker.Algorithm = strong.Algorithm
	for name, c := range map[string]struct {
		key  dnstest.Key
		zone string
		name string
		want []string // in the error, any of those between bars
	}{
		"another secret":    {wrong, "example.org", "_acme-challenge", []string{"BADSIG", "copy the key anew"}},
		"another name":      {unknown, "example.org", "_acme-challenge", []string{"BADKEY", `"nobody"`, "compare name, algorithm"}},
		"another algorithm": {weaker, "example.org", "_acme-challenge", []string{"BADKEY|BADSIG", "algorithm"}},
		"may not write":     {reader, "example.org", "_acme-challenge", []string{"REFUSED|BADKEY", "update-policy|no acl of the zone"}},
		"another's zone":    {writer, "example.net", "_acme-challenge", []string{"name its primary"}},
		"an alias":          {writer, "example.org", "_acme-challenge.moved", []string{"has a CNAME at _acme-challenge.moved.example.org", "remove the CNAME"}},
		"delegated":         {writer, "example.org", "_acme-challenge.away", []string{"not authoritative", "name the primary"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := provider(t, server.Addr, c.key)
			_, err := p.AppendRecords(t.Context(), c.zone, txt(c.name, "text"))
			if err == nil {
				t.Fatal("it was added")
			}
			t.Log(err)
			for _, want := range c.want {
				if !slices.ContainsFunc(strings.Split(want, "|"), func(s string) bool { return strings.Contains(err.Error(), s) }) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), c.key.Secret) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

// TestServerGone wants an end in time, and advice, when nothing answers.
func TestServerGone(t *testing.T) {
	server := dnstest.BIND(t, options())
	p := provider(t, server.Addr, writer)
	if _, err := p.AppendRecords(t.Context(), "example.org", txt("_acme-challenge", "text")); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	_, err := p.DeleteRecords(t.Context(), "example.org", txt("_acme-challenge", "text"))
	if err == nil || !strings.Contains(err.Error(), "is it up") {
		t.Errorf("got %v, want the question whether the server is up", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.DeleteRecords(ctx, "example.org", txt("_acme-challenge", "text")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the caller's own end", err)
	}
}
