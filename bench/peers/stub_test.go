package peers_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// A stub is the least back end: it lets everybody in, and counts who came with
// a PROXY header.
type stub struct{ imap, pop3 string }

func newStub(t *testing.T) *stub {
	t.Helper()
	return &stub{imap: serveStub(t, stubIMAP), pop3: serveStub(t, stubPOP3)}
}

func serveStub(t *testing.T, serve func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			}()
		}
	}()
	return l.Addr().String()
}

func stubIMAP(c net.Conn, r *bufio.Reader) {
	const capability = "CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN ID"
	fmt.Fprintf(c, "* OK [%s] stub\r\n", capability)
	_, _ = proxyproto.Read(r) // there need be none
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		tag, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		verb, args, _ := strings.Cut(rest, " ")
		switch strings.ToUpper(verb) {
		case "LOGIN":
			for strings.HasSuffix(strings.TrimSpace(line), "}") { // literals
				if !strings.HasSuffix(strings.TrimSpace(line), "+}") {
					fmt.Fprint(c, "+ go on\r\n")
				}
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
			}
		case "AUTHENTICATE":
			if !strings.Contains(args, " ") {
				fmt.Fprint(c, "+ \r\n")
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
		case "CAPABILITY":
			fmt.Fprintf(c, "* %s\r\n", capability)
		case "LOGOUT":
			fmt.Fprintf(c, "* BYE\r\n%s OK bye\r\n", tag)
			return
		}
		fmt.Fprintf(c, "%s OK done\r\n", tag)
	}
}

func stubPOP3(c net.Conn, r *bufio.Reader) {
	fmt.Fprint(c, "+OK stub\r\n")
	_, _ = proxyproto.Read(r) // there need be none
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(verb) {
		case "CAPA":
			fmt.Fprint(c, "+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n")
			continue
		case "AUTH":
			if !strings.Contains(args, " ") {
				fmt.Fprint(c, "+ \r\n")
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
		case "QUIT":
			fmt.Fprint(c, "+OK bye\r\n")
			return
		}
		fmt.Fprint(c, "+OK done\r\n")
	}
}
