package certs

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLab(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	names := []string{"mail.example.org", "*.example.org", "bücher.example.org", "192.0.2.1", "2001:db8::1"}
	lab, err := MakeLab(dir, names)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"ca.key", "mail.example.org.key"} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", file, info, err)
		}
	}
	verify := func(name string) error {
		t.Helper()
		text, err := os.ReadFile(lab.AuthorityFile)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		pair, err := tls.LoadX509KeyPair(lab.CertFile, lab.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots})
		return err
	}
	for _, name := range []string{"mail.example.org", "imap.example.org", "xn--bcher-kva.example.org", "192.0.2.1", "2001:db8::1"} {
		if err := verify(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if verify("mail.example.net") == nil {
		t.Error("it is for another name, too")
	}
	k := New(Options{})
	if err := k.Apply(planOf(Source{CertFile: lab.CertFile, KeyFile: lab.KeyFile})); err != nil {
		t.Fatal(err)
	}
	first, authority := ask(t, k, ""), read(t, lab.AuthorityFile)

	const group = 65534
	if err := os.Chmod(lab.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if root := os.Geteuid() == 0; root {
		if err := os.Chown(lab.KeyFile, group, group); err != nil {
			t.Fatal(err)
		}
		defer func() {
			info, err := os.Stat(lab.KeyFile)
			if st, ok := info.Sys().(*syscall.Stat_t); err != nil || !ok || st.Gid != group || st.Uid != group {
				t.Errorf("renewed: got %v, %v, want owner and group of the file before", info.Sys(), err)
			}
		}()
	}
	again, err := MakeLab(dir, names)
	if info, err := os.Stat(lab.KeyFile); err != nil || info.Mode() != 0o640 {
		t.Errorf("renewed: got %v, %v, want the group's right kept and others' gone", info.Mode(), err)
	}
	if err != nil || !again.Renewed || lab.Renewed || read(t, lab.AuthorityFile) != authority {
		t.Fatalf("got %+v, %v: want it renewed by the same CA", again, err)
	}
	only(t, k).look(true)
	if ask(t, k, "") == first || verify("mail.example.org") != nil {
		t.Error("it was not renewed")
	}

	for what, try := range map[string]func() ([]string, string){
		"other domains": func() ([]string, string) { return []string{"mail.example.net"}, "was made for other domains" },
		"an address":    func() ([]string, string) { return []string{"192.0.2.2"}, "was made for other domains" },
		"the CA's name": func() ([]string, string) { return []string{"ca"}, "put another name first" },
		"no name":       func() ([]string, string) { return []string{"a..b", "*", "x y"}, `"x y": want a host name` },
		"nothing":       func() ([]string, string) { return nil, "0 names" },
		"a file of another": func() ([]string, string) {
			newIssuer(t).write(dir, "www.example.org", wanted{names: []string{"www.example.org"}})
			return []string{"www.example.org"}, "they are left alone"
		},
		"a key of another": func() ([]string, string) {
			put(t, filepath.Join(dir, "x.example.org.key"), "mine")
			return []string{"x.example.org"}, "they are left alone"
		},
	} {
		wish, want := try()
		if _, err := MakeLab(dir, wish); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", what, err, want)
		}
	}
	if read(t, filepath.Join(dir, "x.example.org.key")) != "mine" {
		t.Error("a key was overwritten")
	}
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := MakeLab(dir, names); err == nil || !strings.Contains(err.Error(), "is not whole; to begin anew, move") {
		t.Errorf("without the CA's key: got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
