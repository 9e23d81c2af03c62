package certs

import (
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLayouts lays certificates out as ACME clients and people do.
func TestLayouts(t *testing.T) {
	const name = "a.example.org"
	for _, tt := range []struct {
		name string
		// files by path: letters are c(ertificate), i(ntermediate), k(ey), the same
		// in upper case of last year's, and x, an account's key.
		files map[string]string
		links map[string]string
		want  int // certificates of the chain
	}{
		{"certbot", map[string]string{
			"a/privkey.pem": "k", "a/cert.pem": "c", "a/chain.pem": "i", "a/fullchain.pem": "ci", "README": "",
		}, nil, 2},
		{"acme.sh", map[string]string{
			"a_ecc/a.cer": "c", "a_ecc/a.key": "k", "a_ecc/ca.cer": "i", "a_ecc/fullchain.cer": "ci", "a_ecc/a.conf": "", "a_ecc/a.csr": "",
			"ca/x/account.key": "x", "account.key": "x",
		}, nil, 2},
		{"lego", map[string]string{"a.crt": "ci", "a.key": "k", "a.issuer.crt": "i", "a.json": ""}, nil, 2},
		{"dehydrated", map[string]string{
			"a/cert-2.pem": "c", "a/chain-2.pem": "i", "a/fullchain-2.pem": "ci", "a/privkey-2.pem": "k",
			"a/cert-1.pem": "C", "a/chain-1.pem": "i", "a/fullchain-1.pem": "Ci", "a/privkey-1.pem": "K",
		}, map[string]string{
			"a/cert.pem": "cert-2.pem", "a/chain.pem": "chain-2.pem", "a/fullchain.pem": "fullchain-2.pem", "a/privkey.pem": "privkey-2.pem",
		}, 2},
		{"dehydrated, old keys removed", map[string]string{"a/cert-1.pem": "C", "a/fullchain.pem": "ci", "a/privkey.pem": "k"}, nil, 2},
		{"one file", map[string]string{"a.pem": "kci"}, nil, 2},
		{"HAProxy's", map[string]string{"a.pem": "ci", "a.pem.key": "k"}, nil, 2},
		{"by hand, no chain", map[string]string{"mail.crt": "c", "mail.key": "k"}, nil, 1},
		{"leaf twice in the file", map[string]string{"a.pem": "ccik"}, nil, 2},
		{"hidden and other files", map[string]string{"a.pem": "cik", ".old.pem": "C", "..data/tls.crt": "C", "a.pem.bak": "C", "deep/er/b.pem": "C"}, nil, 2},
		{"a laboratory, with the CA's key", map[string]string{"a.pem": "c", "a.key": "k", "ca.pem": "R", "ca.key": "r"}, nil, 1},
		{"the chain in disorder", map[string]string{"a.pem": "cji", "a.key": "k"}, nil, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root, dir := newIssuer(t), t.TempDir()
			var ca, above *issuer
			if above = root.below("upper"); strings.Contains(fmt.Sprint(tt.files), "j") && tt.want == 3 {
				ca = above.below("lower")
			} else {
				ca = above
			}
			cert, key := ca.issue(wanted{names: []string{name}})
			old, oldKey := ca.issue(wanted{names: []string{name}, from: time.Now().AddDate(0, 0, -70)})
			parts := map[rune]string{
				'c': certPEM(cert), 'k': keyPEM(t, key), 'C': certPEM(old), 'K': keyPEM(t, oldKey),
				'i': certPEM(ca.cert), 'j': certPEM(above.cert), 'x': keyPEM(t, newKey(t)),
				'R': certPEM(root.cert), 'r': keyPEM(t, root.key),
			}
			for path, letters := range tt.files {
				var text strings.Builder
				for _, l := range letters {
					text.WriteString(parts[l])
				}
				put(t, filepath.Join(dir, path), text.String())
			}
			for path, target := range tt.links {
				if err := os.Symlink(target, filepath.Join(dir, path)); err != nil {
					t.Fatal(err)
				}
			}
			log := new(book)
			k := keep(t, log, Source{Directory: dir})
			list := k.List()
			if len(list) != 1 || list[0].Problem != "" || list[0].Serial != serial(cert) || len(list[0].Chain) != tt.want {
				t.Fatalf("got %+v, want one, serial %s, a chain of %d", list, serial(cert), tt.want)
			}
			if got := ask(t, k, name); got != serial(cert) {
				t.Errorf("got %s, want %s", got, serial(cert))
			}
			if strings.Contains(log.String(), "WARN") {
				t.Errorf("%s", log)
			}
			roots, middle := x509.NewCertPool(), x509.NewCertPool()
			roots.AddCert(root.cert)
			c, err := k.Config("l").GetCertificate(anybody(name))
			if err != nil {
				t.Fatal(err)
			}
			for i, der := range c.Certificate[1:] {
				link, err := x509.ParseCertificate(der)
				if err != nil {
					t.Fatal(err)
				}
				middle.AddCert(link)
				if before, _ := x509.ParseCertificate(c.Certificate[i]); before.CheckSignatureFrom(link) != nil {
					t.Errorf("certificate %d of the chain is not by the next", i)
				}
			}
			if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: middle}); (err == nil) != (tt.want > 1) {
				t.Errorf("verify: %v", err)
			}
		})
	}
}

// TestDirectoryOfMany: each has his own, one that is broken is his own matter,
// and who is taken out is gone.
func TestDirectoryOfMany(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	serials := map[string]string{}
	for n := range 20 {
		name := fmt.Sprintf("mail%d.example.org", n)
		serials[name] = serial(i.write(filepath.Join(dir, name), "x", wanted{names: []string{name}}))
	}
	log := new(book)
	k := keep(t, log, Source{Directory: dir})
	for name, want := range serials {
		if got := ask(t, k, name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if got, want := ask(t, k, ""), serials["mail0.example.org"]; got != want {
		t.Errorf("the default: got %s, want %s", got, want)
	}
	// A new leaf whose key is missing, a customer who has left.
	cert, _ := i.issue(wanted{names: []string{"mail3.example.org"}})
	put(t, filepath.Join(dir, "mail3.example.org", "x.pem"), certPEM(cert))
	if err := os.RemoveAll(filepath.Join(dir, "mail4.example.org")); err != nil {
		t.Fatal(err)
	}
	if err := k.Apply(planOf(Source{Directory: dir})); err != nil {
		t.Errorf("one is broken, the others are not: %v", err)
	}
	for name, want := range serials {
		if name == "mail4.example.org" {
			want = serials["mail0.example.org"]
		}
		if got := ask(t, k, name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	var told []string
	for _, s := range k.List() {
		if s.Problem != "" {
			told = append(told, s.name()+" "+s.Problem)
		}
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "mail3.example.org ") || !strings.Contains(told[0], "its key is not in") {
		t.Errorf("got %q", told)
	}
	if n := strings.Count(log.String(), "WARN"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, log)
	}
}

func TestEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                                   "no certificate with its key in it",
		filepath.Join(dir, "none"):            "no such file",
		filepath.Join(put1(t, dir), "a.file"): "not a directory",
	} {
		err := New(Options{}).Apply(planOf(Source{Directory: path}))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func put1(t *testing.T, dir string) string {
	put(t, filepath.Join(dir, "a.file"), "")
	return dir
}

// TestStrangersInAChain are not sent.
func TestStrangersInAChain(t *testing.T) {
	i, dir := newIssuer(t).below("ours"), t.TempDir()
	other := newIssuer(t).below("of somebody else")
	cert, key := i.issue(wanted{names: []string{"a.example.org"}})
	put(t, filepath.Join(dir, "a.pem"), certPEM(cert, other.cert, i.cert))
	put(t, filepath.Join(dir, "a.key"), keyPEM(t, key))
	k := keep(t, nil, pairOf(dir, "a"))
	list := k.List()
	if len(list) != 1 || len(list[0].Chain) != 2 || !strings.Contains(list[0].Problem, `"CN=of somebody else" in it has signed no other`) {
		t.Errorf("got %+v", list)
	}
}

// TestExposedKey is told of and shown all the same.
func TestExposedKey(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	i.write(dir, "a", wanted{names: []string{"a.example.org"}})
	if err := os.Chmod(filepath.Join(dir, "a.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Source{pairOf(dir, "a"), {Directory: dir}} {
		if p := problem(t, keep(t, nil, s)); !strings.Contains(p, "a.key has mode 0644, so others can read the key: chmod o= ") {
			t.Errorf("got %q", p)
		}
	}
}

// TestFolders: what has to be watched.
func TestFolders(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir+"/data/v1/tls.crt", "")
	for target, path := range map[string]string{"data/v1": "current", "current/tls.crt": "tls.crt", "loop": "loop", dir + "/data": "absolute"} {
		if err := os.Symlink(target, filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"data/v1/tls.crt":     "/data/v1",
		"tls.crt":             " /data/v1",
		"absolute/v1/tls.crt": " /data/v1",
		"data/none/tls.crt":   "/data",
		"none":                "",
		"loop":                "",
		"data/../tls.crt":     " /data/v1",
		"data/v1/.":           "/data",
	} {
		set := map[string]bool{}
		for _, f := range folders(filepath.Join(dir, path)) {
			set[strings.TrimPrefix(f, dir)] = true
		}
		got := strings.Join(slices.Sorted(maps.Keys(set)), " ")
		if got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// FuzzParse: whatever is in a file, it is read within bounds, and what is taken
// for a pair can be described.
func FuzzParse(f *testing.F) {
	i := newIssuer(f)
	cert, key := i.issue(wanted{names: []string{"a.example.org"}})
	f.Add([]byte(certPEM(cert, i.cert) + keyPEM(f, key)))
	f.Add([]byte("-----BEGIN X-----\n-----END X-----\n" + certPEM(i.cert)))
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if len(c.certs)+len(c.keys) > maxBlocks {
			t.Errorf("%d certificates and %d keys", len(c.certs), len(c.keys))
		}
		if err != nil || len(c.certs) == 0 {
			return
		}
		chain, strangers := order(c.certs)
		if len(chain)+len(strangers) > len(c.certs) || chain[0] != c.certs[0] {
			t.Errorf("%d certificates became %d and %d", len(c.certs), len(chain), len(strangers))
		}
		describe(chain)
		newStand([]*pair{{cert: leafOnly(chain[0])}}, reading{})
		for _, k := range c.keys {
			same(k.Public(), chain[0].PublicKey)
		}
	})
}

// FuzzCanonical: whatever a client sends as a name, it has one form, and that has
// itself.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"mail.example.org", "BÜCHER.example.", "192.0.2.1", "[::1]", "*.x", "..", "\x00", "xn--a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		c := canonical(name)
		if len(c) > maxDNSName || c != "" && c[len(c)-1] != '.' && canonical(c) != c {
			t.Errorf("%q: got %q, and of that %q", name, c, canonical(c))
		}
		parent(c)
	})
}
