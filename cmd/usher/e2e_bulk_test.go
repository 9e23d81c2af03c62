package main_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"usher.example/cmd/internal/dovecot"
)

// bigMessage is a message of 50 MiB that no compression or repetition makes
// easier.
func bigMessage() []byte {
	const size = 50 << 20
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	source := rand.NewChaCha8([32]byte{7})
	text := make([]byte, 0, size)
	text = append(text, "Subject: big\r\nFrom: a@example.org\r\n\r\n"...)
	for len(text) < size-78 {
		line := make([]byte, 76)
		_, _ = source.Read(line) // never fails
		for i, b := range line {
			line[i] = alphabet[b&63]
		}
		text = append(append(text, line...), '\r', '\n')
	}
	return text
}

// TestBigMessage sends 50 MiB and fetches them again, by different doors.
func TestBigMessage(t *testing.T) {
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	p := s.serve()
	message := bigMessage()
	want := sha256.Sum256(message)

	c := mailClient(t, s, "imaps", "127.9.8.7", "joe", imapclient.Options{})
	w := c.Append("INBOX", int64(len(message)), nil)
	if _, err := w.Write(message); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Logout().Wait(); err != nil {
		t.Fatal(err)
	}

	for _, door := range []string{"imaps", "imap"} {
		c = mailClient(t, s, door, "127.9.8.7", "joe", imapclient.Options{})
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		fetch := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{}}})
		sum := sha256.New()
		for msg := fetch.Next(); msg != nil; msg = fetch.Next() {
			for item := msg.Next(); item != nil; item = msg.Next() {
				if body, ok := item.(imapclient.FetchItemDataBodySection); ok {
					if n, err := io.Copy(sum, body.Literal); err != nil || n != int64(len(message)) {
						t.Errorf("%s: got %d octets, %v; want %d", door, n, err, len(message))
					}
				}
			}
		}
		if err := fetch.Close(); err != nil {
			t.Fatal(err)
		}
		if got := sum.Sum(nil); !bytes.Equal(got, want[:]) {
			t.Errorf("%s: checksum %x, want %x", door, got, want)
		}
		if err := c.Logout().Wait(); err != nil {
			t.Fatal(err)
		}
	}

	pop := enter(t, s, "pop3s", entry{})
	if got := pop.login("joe", "secret"); !good(got) {
		t.Fatalf("POP3 login: %s", got)
	}
	pop.command("RETR 1")
	sum := sha256.New()
	for line := pop.line(); line != "." && pop.err == nil; line = pop.line() {
		fmt.Fprintf(sum, "%s\r\n", strings.TrimPrefix(line, "."))
	}
	pop.must(t)
	if got := sum.Sum(nil); !bytes.Equal(got, want[:]) {
		t.Errorf("pop3s: checksum %x, want %x", got, want)
	}
	pop.logout()

	// usher's own count of octets cannot be less than the message.
	for _, line := range p.log.await(t, " msg=session .*result=ok", 4) {
		key := "out"
		if field(line, "in") > field(line, "out") && len(field(line, "in")) > 6 {
			key = "in"
		}
		var n int
		if _, err := fmt.Sscan(field(line, key), &n); err != nil || n < len(message) {
			t.Errorf("session's line counts %d octets, want at least %d: %s", n, len(message), line)
		}
	}
}

// TestIdle wants a delivery to wake a client in IDLE, and usher to leave it
// alone before.
func TestIdle(t *testing.T) {
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	s.serve()
	for _, door := range []string{"imaps", "imap"} {
		t.Run(door, func(t *testing.T) {
			woken := make(chan uint32, 1)
			c := mailClient(t, s, door, "127.9.8.7", door, imapclient.Options{
				UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(m *imapclient.UnilateralDataMailbox) {
					if m.NumMessages != nil {
						woken <- *m.NumMessages
					}
				}},
			})
			if _, err := c.Select("INBOX", nil).Wait(); err != nil {
				t.Fatal(err)
			}
			idle, err := c.Idle()
			if err != nil {
				t.Fatal(err)
			}
			one.Deliver(t, door, "", []byte("Subject: wake up\n\n"))
			var n uint32
			eventually(t, "IDLE is woken", func() bool {
				select {
				case n = <-woken:
					return true
				default:
					return false
				}
			})
			if n != 1 {
				t.Errorf("got %d messages, want 1", n)
			}
			if err := idle.Close(); err != nil {
				t.Fatal(err)
			}
			if err := idle.Wait(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestPipelining sends the login and 500 commands in one write, and wants every
// answer, in order.
func TestPipelining(t *testing.T) {
	const commands = 500
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	s.serve()
	one.Deliver(t, "joe", "", []byte("Subject: one\n\nbody\n"))
	for _, door := range doors {
		t.Run(door, func(t *testing.T) {
			c := enter(t, s, door, entry{from: "127.9.8.7"})
			var text strings.Builder
			if c.imap() {
				text.WriteString("l LOGIN joe {6}\r\n")
				c.write([]byte(text.String()))
				c.until("+ ")
				text.Reset()
				text.WriteString("secret\r\n")
				for i := range commands {
					fmt.Fprintf(&text, "p%d %s\r\n", i, []string{"NOOP", "STATUS INBOX (MESSAGES)", `LIST "" "*"`, "CAPABILITY"}[i%4])
				}
			} else {
				text.WriteString("USER joe\r\nPASS secret\r\n")
				for i := range commands {
					fmt.Fprintf(&text, "%s\r\n", []string{"NOOP", "STAT", "LIST 1", "UIDL 1"}[i%4])
				}
			}
			c.write([]byte(text.String()))
			if !c.imap() {
				c.until("+OK")
				c.until("+OK")
			} else if got := c.until("l "); !strings.HasPrefix(got, "l OK") {
				t.Fatalf("login: got %q", got)
			}
			for i := range commands {
				want := []string{"+OK", "+OK 1 ", "+OK 1 ", "+OK 1 "}[i%4]
				got := ""
				if c.imap() {
					want = fmt.Sprintf("p%d OK", i)
					got = c.until("p")
				} else {
					got = c.line()
				}
				if c.must(t); !strings.HasPrefix(got, want) {
					t.Fatalf("answer %d: got %q, want %q", i, got, want)
				}
			}
			c.logout()
			c.must(t)
		})
	}
}
