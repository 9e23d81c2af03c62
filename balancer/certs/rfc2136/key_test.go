package rfc2136_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"usher.example/balancer/certs/rfc2136"
)

func TestParseKey(t *testing.T) {
	for name, c := range map[string]struct {
		text, want string // name and algorithm, or what the error says
	}{
		"as tsig-keygen writes it": {"key \"acme\" {\n\talgorithm hmac-sha384;\n\tsecret \"" + writer.Secret + "\";\n};\n", "acme hmac-sha384"},
		"with comments":            {"# made today\n// by me\nkey acme { secret " + writer.Secret + "; algorithm hmac-sha256; };", "acme hmac-sha256"},
		"a secret alone":           {writer.Secret + "\n", " "},
		"nothing":                  {"", "no TSIG key"},
		"no base64":                {"*****", "no base64"},
		"cut off":                  {"key acme { algorithm hmac-sha256; secret " + writer.Secret, "does not end"},
		"two keys":                 {strings.Repeat("key acme { secret "+writer.Secret+"; };\n", 2), "one file holds one key"},
		"no secret":                {"key acme { algorithm hmac-sha256; };", "a line secret"},
		"twice":                    {"key acme { secret " + writer.Secret + "; secret " + writer.Secret + "; };", "twice"},
		"too long":                 {strings.Repeat(" ", 1<<20), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := rfc2136.ParseKey([]byte(c.text))
			got := key.Name + " " + key.Algorithm
			if err != nil {
				got = err.Error()
			}
			if (err == nil && got != c.want) || !strings.Contains(got, c.want) || strings.Contains(got, writer.Secret) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestKeygen reads what BIND's own tool writes.
func TestKeygen(t *testing.T) {
	for _, algorithm := range []string{"hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha1", "hmac-md5"} {
		out, err := exec.CommandContext(t.Context(), "/usr/sbin/tsig-keygen", "-a", algorithm, "acme").Output()
		if err != nil {
			t.Skipf("SKIPPED, needs tsig-keygen of bind9: %v", err) // the real servers' test is the one that must run
		}
		key, err := rfc2136.ParseKey(out)
		if err != nil || key.Name != "acme" || key.Algorithm != algorithm {
			t.Fatalf("%s: got %v, %v", algorithm, key, err)
		}
		_, err = rfc2136.New(rfc2136.Options{Server: "127.0.0.1:53", Key: key})
		if weak := algorithm == "hmac-sha1" || algorithm == "hmac-md5"; weak != (err != nil) {
			t.Errorf("%s: got %v", algorithm, err)
		} else if weak && !strings.Contains(err.Error(), "tsig-keygen -a hmac-sha256") {
			t.Errorf("%s: the error does not say what to do: %v", algorithm, err)
		}
	}
}

func TestOptions(t *testing.T) {
	good := rfc2136.Key{Name: "acme", Secret: rfc2136.NewSecret(bytes.Repeat([]byte("k"), 32))}
	with := func(change func(*rfc2136.Key)) rfc2136.Key {
		key := good
		change(&key)
		return key
	}
	for name, c := range map[string]struct {
		server string
		key    rfc2136.Key
		want   string
	}{
		"a port":          {"ns.example.org:5353", good, ""},
		"no port":         {"ns.example.org", good, ""},
		"IPv6":            {"[::1]:53", good, ""},
		"IPv6, no port":   {"::1", good, ""},
		"no server":       {"", good, "name the primary"},
		"a bad port":      {"ns.example.org:domain", good, "host:port"},
		"colons":          {"a:b:c", good, "host:port"},
		"no host":         {":53", good, "host:port"},
		"no name":         {"ns", with(func(k *rfc2136.Key) { k.Name = "" }), "no name"},
		"no such name":    {"ns", with(func(k *rfc2136.Key) { k.Name = "a..b" }), "no name of a TSIG key"},
		"a short secret":  {"ns", with(func(k *rfc2136.Key) { k.Secret = rfc2136.NewSecret([]byte("short")) }), "fewer than 16"},
		"a long secret":   {"ns", with(func(k *rfc2136.Key) { k.Secret = rfc2136.NewSecret(make([]byte, 257)) }), "more than 256"},
		"no secret":       {"ns", with(func(k *rfc2136.Key) { k.Secret = rfc2136.Secret{} }), "tsig-keygen"},
		"no such algo":    {"ns", with(func(k *rfc2136.Key) { k.Algorithm = "hmac-rot13" }), "hmac-rot13"},
		"weak":            {"ns", with(func(k *rfc2136.Key) { k.Algorithm = "HMAC-SHA1." }), "not supported"},
		"another's style": {"ns", with(func(k *rfc2136.Key) { k.Algorithm = "HMAC-SHA512." }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rfc2136.New(rfc2136.Options{Server: c.server, Key: c.key})
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestSecretDoesNotPrint tries the ways that things get into logs.
func TestSecretDoesNotPrint(t *testing.T) {
	octets := "thirty-two octets of a secret!!!"
	key := rfc2136.Key{Name: "acme", Secret: rfc2136.NewSecret([]byte(octets))}
	o := rfc2136.Options{Server: "ns", Key: key}
	p, err := rfc2136.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, v := range []any{key.Secret, key, &key, o, &o} {
		fmt.Fprintf(&b, "%v %+v %#v %s %q\n", v, v, v, v, v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
		if err := json.NewEncoder(&b).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintf(&b, "%v %+v %#v %v", p, p, p, *p)
	for _, form := range []string{octets, secret(octets), fmt.Sprint([]byte(octets)), fmt.Sprintf("%x", octets), fmt.Sprintf("%#v", []byte(octets))} {
		if strings.Contains(b.String(), strings.Trim(form, "[]{}")) {
			t.Errorf("the secret was printed as %q", form)
		}
	}
}

// TestOnlyWholeRecords wants nothing to be removed by a part of its description.
func TestOnlyWholeRecords(t *testing.T) {
	p := provider(t, "127.0.0.1:1", writer)
	for name, record := range map[string]libdns.RR{
		"no text":      {Name: "_acme-challenge", Type: "TXT"},
		"no type":      {Name: "_acme-challenge", Data: "text"},
		"another type": {Name: "mail", Type: "A", Data: "192.0.2.1"},
		"no name":      {Type: "TXT", Data: "text"},
		"a bad name":   {Name: "a..b", Type: "TXT", Data: "text"},
		"a long text":  {Name: "a", Type: "TXT", Data: strings.Repeat("x", 256), TTL: time.Hour},
	} {
		_, err := p.DeleteRecords(t.Context(), "example.org", []libdns.Record{record})
		if err == nil || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: got %v, want it refused before the server is asked", name, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("key \"acme\" {\n\talgorithm hmac-sha384;\n\tsecret \"" + writer.Secret + "\";\n};\n"))
	f.Add([]byte(writer.Secret))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := rfc2136.ParseKey(text)
		if err == nil {
			_, _ = rfc2136.New(rfc2136.Options{Server: "ns", Key: key})
		}
	})
}

// FuzzAnswer wants nothing that the key did not sign to be believed, and no
// packet to do harm.
func FuzzAnswer(f *testing.F) {
	p, err := rfc2136.New(rfc2136.Options{Server: "ns", Key: rfc2136.Key{Name: writer.Name, Secret: rfc2136.NewSecret([]byte("a secret that no fuzzer knows....."))}})
	if err != nil {
		f.Fatal(err)
	}
	asked := new(dns.Msg)
	asked.SetQuestion("_acme-challenge.example.org.", dns.TypeSOA)
	asked.Id = 1
	m := answerTo(asked)
	m.SetTsig(dns.Fqdn(writer.Name), dns.HmacSHA256, 300, time.Now().Unix())
	packet, _, err := dns.TsigGenerate(m, writer.Secret, "", false)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packet)
	f.Fuzz(func(t *testing.T, packet []byte) {
		loose := new(dns.Msg)
		if loose.Unpack(packet) == nil {
			if zone, err := rfc2136.ZoneOf(loose, "_acme-challenge.example.org."); err == nil && !dns.IsSubDomain(zone, "_acme-challenge.example.org.") {
				t.Errorf("%q is not above the name", zone)
			}
		}
		if _, err := rfc2136.Read(p, packet, asked, "00"); err == nil {
			t.Error("a forged answer was believed")
		}
	})
}
