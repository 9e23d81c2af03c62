package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"usher.example/cmd/internal/demo"
)

// reminder is after how long without a word a step says that it goes on.
const reminder = 2 * time.Second

// A tourWriter is where the tour speaks. If nobody listens any more, the tour
// is over.
type tourWriter struct {
	failed context.CancelCauseFunc

	mu   sync.Mutex // guards what follows
	to   io.Writer
	last time.Time // when something was said
}

// Write implements io.Writer.
func (w *tourWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = time.Now()
	n, err := w.to.Write(p)
	if err != nil {
		w.failed(err)
	}
	return n, err
}

func (w *tourWriter) say(format string, args ...any) { fmt.Fprintf(w, format, args...) }

// table prints rows in columns under a header, whose titles have tabs between
// them. An empty header is not printed.
func (w *tourWriter) table(header string, rows [][]string) {
	var b strings.Builder
	columns := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	if header != "" {
		fmt.Fprintf(columns, "   %s\n", header)
	}
	for _, row := range rows {
		fmt.Fprintf(columns, "   %s\n", strings.Join(row, "\t"))
	}
	_ = columns.Flush() // into memory
	for line := range strings.Lines(b.String()) {
		w.say("%s\n", strings.TrimRight(line, " \n"))
	}
}

// remind says from time to time that something still goes on, until the
// returned function is called.
func (w *tourWriter) remind() (done func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		begin := time.Now()
		tick := time.NewTicker(reminder / 4)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				w.mu.Lock()
				quiet := now.Sub(w.last)
				w.mu.Unlock()
				if quiet >= reminder {
					w.say("   … %v\n", now.Sub(begin).Round(time.Second))
				}
			}
		}
	})
	return func() {
		close(stop)
		wg.Wait()
	}
}

// paste prints what one would try next.
func (t *tour) paste(context.Context) error {
	user, ca := t.site.Users[0], shellQuote(t.site.CAFile())
	first := t.nodes[0]
	imaps, imap := first.IMAPS, first.IMAP
	verify := "-servername " + demo.Host + " -verify_hostname " + demo.Host + " -verify_return_error -CAfile " + ca
	usher, socket, config := shellQuote(ownCommand()), shellQuote(first.Socket()), shellQuote(first.ConfigFile())
	if t.once {
		t.out.say("   (The demo ends here; without --once it goes on, for these.)\n\n")
	}
	for _, l := range []struct{ what, line string }{
		{"A mail, by curl:", fmt.Sprintf("curl --cacert %s -u %s:%s 'imaps://%s:%d/INBOX;MAILINDEX=1'",
			ca, user, t.site.Password, demo.Host, imaps.Port())},
		{
			"By hand; then type: a LOGIN " + user + " " + t.site.Password + ", b SELECT INBOX, c LOGOUT",
			fmt.Sprintf("openssl s_client -quiet -crlf -connect %s %s", imaps, verify),
		},
		{
			"The same by STARTTLS:",
			fmt.Sprintf("openssl s_client -quiet -crlf -starttls imap -connect %s %s", imap, verify),
		},
		{"What usher knows:", fmt.Sprintf("%s status --socket %s", usher, socket)},
		{"", fmt.Sprintf("%s sessions --socket %s", usher, socket)},
		{"What monitoring sees:", fmt.Sprintf("curl http://%s/readyz", first.HTTP)},
		{"", fmt.Sprintf("curl http://%s/metrics", first.HTTP)},
		{"Its configuration:", fmt.Sprintf("%s check -c %s", usher, config)},
		{"", "cat " + config},
	} {
		if l.what != "" {
			t.out.say("   %s\n", l.what)
		}
		t.out.say("      %s\n", l.line)
	}
	if !t.verbose {
		t.out.say("   What it logs:\n      tail -f %s\n", shellQuote(t.site.LogFile()))
	}
	t.out.say("\n   A mail program (any of the dozen users; all have this password):\n")
	t.out.table("", [][]string{
		{"   server", fmt.Sprintf("%s, port %d, SSL/TLS (or port %d, STARTTLS)", demo.Host, imaps.Port(), imap.Port())},
		{"   user", user},
		{"   password", t.site.Password},
		{"   trust", t.site.CAFile()},
	})
	return nil
}

// ownCommand is what one types to run this program.
func ownCommand() string {
	const name = "usher"
	own, err := os.Executable()
	if err != nil {
		return name
	}
	found, err := exec.LookPath(name)
	if err != nil {
		return own
	}
	a, errA := os.Stat(own)
	b, errB := os.Stat(found)
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		return own
	}
	return name
}

// shellQuote writes a text as one word of a shell.
func shellQuote(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("/._-+@:,%", c)
	}
	if s != "" && strings.IndexFunc(s, func(c rune) bool { return !plain(c) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
