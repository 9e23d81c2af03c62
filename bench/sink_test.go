package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"

	"usher.example/bench/sink"
)

// TestSinkCommand runs the sink as a parent process does: it reads where it
// serves, asks for counts, and closes its input.
func TestSinkCommand(t *testing.T) {
	stdin, ask := io.Pipe()
	answers, stdout := io.Pipe()
	cmd := newSinkCommand()
	cmd.SetArgs([]string{"--imap", "127.0.0.1:0", "--pop3", "127.0.0.1:0"})
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	ended := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(t.Context())
		_ = stdout.Close()
		ended <- err
	}()
	lines := bufio.NewReader(answers)
	ready, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(ready)
	if len(words) != 3 || words[0] != "ready" {
		t.Fatalf("said %q, want that it is ready, and two addresses", ready)
	}
	for i, want := range []string{"* OK", "+OK"} {
		c, err := net.Dial("tcp", words[i+1])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if greeting, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(greeting, want) {
			t.Errorf("greeted with %q (%v), want %q", greeting, err, want)
		}
	}
	if _, err := io.WriteString(ask, "counts\n"); err != nil {
		t.Fatal(err)
	}
	line, err := lines.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var got sink.Stats
	if err := json.Unmarshal(line, &got); err != nil || got.Sessions != 2 {
		t.Errorf("counted %q (%v), want two sessions", line, err)
	}
	_ = ask.Close()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}
