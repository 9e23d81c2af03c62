package certs

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// problem is the Problem of the only status.
func problem(t testing.TB, k *Keeper) string {
	t.Helper()
	list := k.List()
	if len(list) != 1 {
		t.Fatalf("got %d, want one: %+v", len(list), list)
	}
	return list[0].Problem
}

// TestHalfWrittenPair: the certificate of one pair and the key of the other are
// never shown, are told of, and are no matter once the other half has come.
func TestHalfWrittenPair(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	first := i.write(dir, "a", wanted{names: []string{"a.example.org"}})
	log := new(book)
	k := keep(t, log, pairOf(dir, "a"))
	run(t, k)
	for _, order := range []string{"certificate first", "key first"} {
		cert, key := i.issue(wanted{names: []string{"a.example.org"}})
		halves := []func(){
			func() { put(t, filepath.Join(dir, "a.pem"), certPEM(cert)) },
			func() { put(t, filepath.Join(dir, "a.key"), keyPEM(t, key)) },
		}
		if order == "key first" {
			slices.Reverse(halves)
		}
		halves[0]()
		eventually(t, order+": the half is told of", func() bool { return problem(t, k) != "" })
		if got := ask(t, k, "a.example.org"); got != serial(first) {
			t.Errorf("%s: got %s with a half, want %s", order, got, serial(first))
		}
		if p := problem(t, k); !strings.Contains(p, "yet to come") || !strings.Contains(p, "a.pem") || !strings.Contains(p, "a.key") {
			t.Errorf("%s: got %q", order, p)
		}
		halves[1]()
		eventually(t, order+": the new one is shown", func() bool { return ask(t, k, "a.example.org") == serial(cert) })
		if p := problem(t, k); p != "" {
			t.Errorf("%s: got %q", order, p)
		}
		first = cert
	}
	if strings.Contains(log.String(), "level=WARN") {
		t.Errorf("a short half is nobody's matter:\n%s", log)
	}
}

// TestSwappedLinks changes what certbot and Kubernetes change.
func TestSwappedLinks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source func(dir string) Source
		lay    func(t *testing.T, i *issuer, dir string, n int) string // returns the serial
	}{
		{
			"certbot", func(dir string) Source {
				live := filepath.Join(dir, "live", "a.example.org")
				return Source{CertFile: filepath.Join(live, "fullchain.pem"), KeyFile: filepath.Join(live, "privkey.pem")}
			}, certbot,
		},
		{"certbot, its directory", func(dir string) Source { return Source{Directory: filepath.Join(dir, "live")} }, certbot},
		{"Kubernetes", func(dir string) Source {
			return Source{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
		}, kubernetes},
		{"Kubernetes, its directory", func(dir string) Source { return Source{Directory: dir} }, kubernetes},
		{"a link above", func(dir string) Source { return pairOf(filepath.Join(dir, "current", "deep"), "a") }, releases},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i, dir := newIssuer(t), t.TempDir()
			first := tt.lay(t, i, dir, 1)
			k := keep(t, nil, tt.source(dir))
			run(t, k)
			if got := ask(t, k, "a.example.org"); got != first {
				t.Fatalf("got %s, want %s", got, first)
			}
			for n := 2; n < 4; n++ { // the second time shows that the watch followed
				next := tt.lay(t, i, dir, n)
				eventually(t, fmt.Sprint("version ", n), func() bool { return ask(t, k, "a.example.org") == next })
			}
			if p := problem(t, k); p != "" {
				t.Errorf("got %q", p)
			}
		})
	}
}

// link makes or replaces a symbolic link in one step.
func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"_tmp", path); err != nil {
		t.Fatal(err)
	}
}

func certbot(t *testing.T, i *issuer, dir string, n int) string {
	i = i.below("intermediate")
	cert, key := i.issue(wanted{names: []string{"a.example.org"}})
	for name, text := range map[string]string{
		"privkey": keyPEM(t, key), "cert": certPEM(cert), "chain": certPEM(i.above...), "fullchain": certPEM(cert) + certPEM(i.above...),
	} {
		file := fmt.Sprintf("%s%d.pem", name, n)
		put(t, filepath.Join(dir, "archive", "a.example.org", file), text)
		link(t, filepath.Join("..", "..", "archive", "a.example.org", file), filepath.Join(dir, "live", "a.example.org", name+".pem"))
	}
	put(t, filepath.Join(dir, "live", "README"), "This directory contains your keys")
	return serial(cert)
}

func kubernetes(t *testing.T, i *issuer, dir string, n int) string {
	cert, key := i.issue(wanted{names: []string{"a.example.org"}})
	data := fmt.Sprintf("..2026_%d", n)
	put(t, filepath.Join(dir, data, "tls.crt"), certPEM(cert))
	put(t, filepath.Join(dir, data, "tls.key"), keyPEM(t, key))
	link(t, data, filepath.Join(dir, "..data"))
	if n == 1 {
		link(t, filepath.Join("..data", "tls.crt"), filepath.Join(dir, "tls.crt"))
		link(t, filepath.Join("..data", "tls.key"), filepath.Join(dir, "tls.key"))
	} else if err := os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..2026_%d", n-1))); err != nil {
		t.Fatal(err)
	}
	return serial(cert)
}

func releases(t *testing.T, i *issuer, dir string, n int) string {
	cert := i.write(filepath.Join(dir, fmt.Sprint("r", n), "deep"), "a", wanted{names: []string{"a.example.org"}})
	link(t, fmt.Sprint("r", n), filepath.Join(dir, "current"))
	return serial(cert)
}

// TestDirectoryReplaced: the folder itself is another one.
func TestDirectoryReplaced(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	i.write(filepath.Join(dir, "d"), "a", wanted{names: []string{"a.example.org"}})
	k := keep(t, nil, Source{Directory: filepath.Join(dir, "d")})
	run(t, k)
	for range 2 {
		if err := os.RemoveAll(filepath.Join(dir, "d")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the loss is told of", func() bool { return strings.Contains(fmt.Sprint(k.List()), "no such file") })
		if c, err := shake(t, k, &tls.Config{}); err != nil {
			t.Errorf("what is shown was taken away: %v, %v", c, err)
		}
		next := i.write(filepath.Join(dir, "d"), "a", wanted{names: []string{"a.example.org"}})
		eventually(t, "the new one is shown", func() bool {
			return ask(t, k, "a.example.org") == serial(next) && len(k.List()) == 1 && problem(t, k) == ""
		})
	}
}

// TestNothingTakesAway breaks files in all ways that there are.
func TestNothingTakesAway(t *testing.T) {
	i := newIssuer(t)
	big := strings.Repeat("x", maxPEM+1)
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"garbage", func(t *testing.T, dir string) { put(t, dir+"/a.pem", "hello") }, "a.pem: no certificate in it"},
		{"cut short", func(t *testing.T, dir string) {
			text, _ := os.ReadFile(dir + "/a.pem")
			put(t, dir+"/a.pem", string(text[:len(text)/2]))
		}, "a.pem: no certificate in it"},
		{"empty key", func(t *testing.T, dir string) { put(t, dir+"/a.key", "") }, "a.key: no private key in it"},
		{"too big", func(t *testing.T, dir string) { put(t, dir+"/a.pem", big) }, "a.pem has more than 1048576 octets"},
		{"gone", func(t *testing.T, dir string) { _ = os.Remove(dir + "/a.key") }, "read "},
		{"a pipe", func(t *testing.T, dir string) {
			_ = os.Remove(dir + "/a.key")
			if err := unix.Mkfifo(dir+"/a.key", 0o600); err != nil {
				t.Fatal(err)
			}
		}, "a.key is no regular file"},
		{"encrypted", func(t *testing.T, dir string) {
			put(t, dir+"/a.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
		}, "a.key: the private key is encrypted"},
		{"the leaf is not first", func(t *testing.T, dir string) {
			text, _ := os.ReadFile(dir + "/a.pem")
			put(t, dir+"/a.pem", certPEM(i.cert)+string(text))
		}, "a.pem: the certificate of the key is the 2. in it: put it first"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			first := i.write(dir, "a", wanted{names: []string{"a.example.org"}})
			log := new(book)
			k := keep(t, log, pairOf(dir, "a"))
			shelf := only(t, k)
			tt.spoil(t, dir)
			if !shelf.look(false) || strings.Contains(log.String(), "WARN") {
				t.Errorf("it is early to warn:\n%s", log)
			}
			for range 3 {
				if shelf.look(true) {
					t.Error("there is something unsaid")
				}
			}
			if got := ask(t, k, ""); got != serial(first) {
				t.Errorf("got %s, want %s", got, serial(first))
			}
			if p := problem(t, k); !strings.Contains(p, tt.want) || !strings.Contains(p, dir) {
				t.Errorf("got %q, want %q", p, tt.want)
			}
			if n := strings.Count(log.String(), "level=WARN"); n != 1 {
				t.Errorf("%d warnings:\n%s", n, log)
			}
			// The same is an error of a new plan, and of a first one.
			if err := k.Apply(planOf(pairOf(dir, "a"))); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Apply: got %v", err)
			}
			if got := ask(t, k, ""); got != serial(first) {
				t.Errorf("after Apply: got %s, want %s", got, serial(first))
			}
			if _, err := Try(planOf(pairOf(dir, "a"))); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Try: got %v", err)
			}
			next := i.write(dir, "a", wanted{names: []string{"a.example.org"}})
			shelf.look(false)
			if got := ask(t, k, ""); got != serial(next) || problem(t, k) != "" {
				t.Errorf("mended: got %s, %q, want %s", got, problem(t, k), serial(next))
			}
		})
	}
}

// only is the one shelf of a Keeper.
func only(t testing.TB, k *Keeper) *files {
	t.Helper()
	for _, p := range k.shelves {
		return p.shelf.(*files)
	}
	t.Fatal("no shelf")
	return nil
}

// TestDenied reads as somebody who may not.
func TestDenied(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	i, dir := newIssuer(t), t.TempDir()
	i.write(dir, "a", wanted{names: []string{"a.example.org"}})
	got := make(chan error)
	go func() { // its thread ends with it, since it is not unlocked
		lockThread()
		if err := unix.Setfsuid(65534); err != nil {
			got <- err
			return
		}
		_, err := readPEM(filepath.Join(dir, "a.key"))
		got <- err
	}()
	err := <-got
	if err == nil || !strings.Contains(err.Error(), "usher runs as root, who may not: let him, by group or setfacl") {
		t.Errorf("got %v", err)
	}
}

// TestDates: what is not valid now waits, and what is older is told of.
func TestDates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, dir, now := newIssuer(t), t.TempDir(), time.Now()
		first := i.write(dir, "a", wanted{names: []string{"a.example.org"}, from: now.AddDate(0, 0, -10), to: now.AddDate(0, 0, 80)})
		log := new(book)
		k := keep(t, log, pairOf(dir, "a"))
		shelf := only(t, k)
		shown := func() string {
			t.Helper()
			c, err := k.Config("l").GetCertificate(anybody("a.example.org"))
			if err != nil {
				t.Fatal(err)
			}
			return serial(c.Leaf)
		}
		future := i.write(dir, "a", wanted{names: []string{"a.example.org"}, from: now.Add(time.Hour)})
		shelf.look(true)
		if got := shown(); got != serial(first) {
			t.Errorf("not yet valid: got %s, want %s", got, serial(first))
		}
		if text := fmt.Sprint(k.List()); !strings.Contains(text, "it is not valid before") {
			t.Errorf("got %s", text)
		}
		time.Sleep(time.Hour)
		if got := shown(); got != serial(future) {
			t.Errorf("valid: got %s, want %s", got, serial(future))
		}
		shelf.look(true)
		if p := problem(t, k); p != "" {
			t.Errorf("got %q", p)
		}
		i.write(dir, "a", wanted{names: []string{"a.example.org"}, from: now.AddDate(0, 0, -9), to: now.AddDate(0, 0, -1)})
		shelf.look(true)
		if got := shown(); got != serial(future) {
			t.Errorf("expired: got %s, want %s", got, serial(future))
		}
		older := i.write(dir, "a", wanted{names: []string{"a.example.org"}, from: now.AddDate(0, 0, -1)})
		for range 2 {
			shelf.look(true)
			if got := shown(); got != serial(older) {
				t.Errorf("older: got %s, want %s", got, serial(older))
			}
			if p := problem(t, k); !strings.Contains(p, "older than the one that was shown before it") {
				t.Errorf("older: got %q", p)
			}
		}
		if n := strings.Count(log.String(), "older than"); n != 1 {
			t.Errorf("told %d times:\n%s", n, log)
		}
	})
}
