package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher.example/balancer"
	"usher.example/cmd/internal/config"
)

var wrongLogin = balancer.FailedLogin{
	Time: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), Protocol: "imap", User: "joe", Mechanism: "PLAIN",
	Client: netip.MustParseAddrPort("198.51.100.7:50412"), Local: netip.MustParseAddrPort("[2001:db8::1]:993"),
	TLS: true, Session: "k3q", Kind: balancer.AuthFailed, Attempts: 2, After: time.Second,
}

// TestJournal: lines have no time of their own only where journald reads them,
// which the inherited variable alone does not say.
func TestJournal(t *testing.T) {
	var stderr unix.Stat_t
	if err := unix.Fstat(unix.Stderr, &stderr); err != nil {
		t.Fatal(err)
	}
	its := fmt.Sprintf("%d:%d", stderr.Dev, stderr.Ino)
	for _, tt := range []struct {
		name, env string
		file      *os.File
		journal   bool
	}{
		{"no journal", "", os.Stderr, false},
		{"journald's", its, os.Stderr, true},
		{"that of a parent", fmt.Sprintf("%d:%d", stderr.Dev, stderr.Ino+1), os.Stderr, false},
		{"another device", fmt.Sprintf("%d:%d", stderr.Dev+1, stderr.Ino), os.Stderr, false},
		{"nonsense", "yes", os.Stderr, false},
		{"not standard error", its, os.Stdin, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("JOURNAL_STREAM", tt.env)
			l := newLogger(tt.file, config.Log{})
			var out bytes.Buffer
			l.out = &out
			l.loginFailed(wrongLogin)
			if stamped := strings.HasPrefix(out.String(), "2026-01-02T03:04:05.006Z imap-login: "); stamped == tt.journal {
				t.Errorf("got %q, journald reads it: %v", out.String(), tt.journal)
			}
		})
	}
}

// TestJSON: numbers say their unit, and one thing has one name in all lines.
func TestJSON(t *testing.T) {
	var out bytes.Buffer
	l := newLogger(&out, config.Log{Format: config.LogJSON})
	l.Info("session", "duration", 1500*time.Millisecond, "client", wrongLogin.Client.String())
	l.loginFailed(wrongLogin)
	var lines []map[string]any
	for line := range strings.Lines(out.String()) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		delete(object, "time")
		lines = append(lines, object)
	}
	want := []map[string]any{
		{"level": "INFO", "msg": "session", "duration_seconds": 1.5, "client": "198.51.100.7:50412"},
		{
			"level": "INFO", "msg": "login failed", "session": "k3q", "proto": "imap", "user": "joe", "mech": "PLAIN",
			"client": "198.51.100.7:50412", "local": "[2001:db8::1]:993", "secure": true, "failure": "auth_failed", "attempts": 2.0,
		},
	}
	if !slices.EqualFunc(lines, want, maps.Equal) {
		t.Errorf("got\n%v\nwant\n%v", lines, want)
	}
}

// TestTextDurations: people read them better as Go writes them.
func TestTextDurations(t *testing.T) {
	var out bytes.Buffer
	newLogger(&out, config.Log{}).Info("session", "duration", 90*time.Second)
	if !strings.HasSuffix(out.String(), " duration=1m30s\n") {
		t.Errorf("got %q", out.String())
	}
}
