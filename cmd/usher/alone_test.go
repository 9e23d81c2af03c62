package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher.example/balancer/balancertest"
)

// TestAloneKeepsWhatItWasTold: a node without a fleet is one, and what
// administrators told it outlives a restart.
func TestAloneKeepsWhatItWasTold(t *testing.T) {
	p := newPlant(t)
	p.mail("mail1", "one")
	p.mail("mail2", "two")
	p.start()
	user := p.userOf("mail1")
	if err := p.node.fleet.Move(t.Context(), "main", user, "mail2", "test"); err != nil {
		t.Fatal(err)
	}
	if _, server := p.enter(user); server != "two" {
		t.Errorf("%s is at %q after the move, want two", user, server)
	}
	p.node.stop(expired())
	p.start()
	if _, server := p.enter(user); server != "two" {
		t.Errorf("%s is at %q after a restart, want two, where his pin is", user, server)
	}
}

// TestAloneWithoutAState: a node that may not write where nobody told it to serves
// nevertheless, and says what is lost. Where it was told to, it does not start.
func TestAloneWithoutAState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STATE_DIRECTORY", filepath.Join(file, "usher"))
	p := newPlant(t)
	p.stateDir = ""
	p.mail("mail1", "one")
	p.socket = filepath.Join(t.TempDir(), "usher.sock")
	p.more = "[[listener]]\nname = \"imaps\"\naddress = \"127.0.0.2:0\"\nprotocol = \"imap\"\ncertificates = [{ imported = true }]\n"
	p.start()
	ca := balancertest.NewAuthority(t)
	_, crt, key := ca.Files(ca.Server("mail.example.org"))
	if out, status, err := run(t, "cert", "import", crt, key, "--socket", p.socket); status == 0 || err == nil || !strings.Contains(err.Error(), "set fleet.state_dir") {
		t.Errorf("an import that is lost at the next start: %d, %q, %v", status, out, err)
	}
	if _, server := p.enter("joe"); server != "one" {
		t.Errorf("joe is at %q, want one", server)
	}
	if want := "certificates that are obtained are kept in memory, and lost with the next start; say with fleet.state_dir where to keep them"; !strings.Contains(p.log.String(), want) {
		t.Errorf("the log does not say that pins %s", want)
	}
	told := newPlant(t)
	told.stateDir = filepath.Join(file, "told")
	told.mail("mail1", "one")
	told.write()
	if _, _, err := load(t.Context(), told.path); err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("check: got %v, want an error about the state directory", err)
	}
	told.stateDir = t.TempDir()
	c := told.load()
	c.Fleet.StateDir = filepath.Join(file, "told")
	if _, _, err := bringUp(t.Context(), c, newLogger(told.log, c.Log)); err == nil || !strings.Contains(err.Error(), "state directory") {
		t.Errorf("start: got %v, want an error about the state directory", err)
	}
}
