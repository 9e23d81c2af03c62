package sink_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"usher.example/bench/bulk"
	"usher.example/bench/sink"
)

// patience is how long an answer may take that will come.
const patience = 20 * time.Second

// start serves until the test's end.
func start(t *testing.T) *sink.Server {
	t.Helper()
	return startWith(t, sink.Options{IMAP: []string{"127.0.0.1:0", "127.0.0.1:0"}, POP3: []string{"127.0.0.1:0"}})
}

func startWith(t *testing.T, o sink.Options) *sink.Server {
	t.Helper()
	s, err := sink.Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// A talk is one connection.
type talk struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func connect(t *testing.T, addr string) *talk {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &talk{t, c, bufio.NewReader(c)}
}

func (c *talk) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// expect wants lines that begin so.
func (c *talk) expect(lines ...string) {
	c.t.Helper()
	for _, want := range lines {
		got, err := c.in.ReadString('\n')
		if err != nil || !strings.HasPrefix(got, want) {
			c.t.Fatalf("%q (%v), want %q", got, err, want)
		}
	}
}

// TestProxyHeaders sends what proxies send ahead of a login: PROXY of either
// version, as an independent library writes it, or nothing.
func TestProxyHeaders(t *testing.T) {
	s := start(t)
	client, server := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 2}
	long := proxyproto.HeaderProxyFromAddrs(2, client, server)
	if err := long.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, 3000)}}); err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string]*proxyproto.Header{
		"1":              proxyproto.HeaderProxyFromAddrs(1, client, server),
		"2":              proxyproto.HeaderProxyFromAddrs(2, client, server),
		"2, much of it":  long,
		"2, of no proxy": {Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC},
		"none":           nil,
	} {
		t.Run(name, func(t *testing.T) {
			begin := ""
			if header != nil {
				octets, err := header.Format()
				if err != nil {
					t.Fatal(err)
				}
				begin = string(octets)
			}
			for _, addr := range s.IMAP() {
				c := connect(t, addr)
				c.send(begin + "L LOGIN u p\r\nA LOGOUT\r\n")
				c.expect("* OK", "L OK", "* BYE", "A OK")
			}
			c := connect(t, s.POP3()[0])
			c.expect("+OK") // before the header came
			c.send(begin + "USER u\r\n")
			c.expect("+OK")
			c.send("PASS p\r\nQUIT\r\n")
			c.expect("+OK", "+OK")
			if _, err := c.in.ReadByte(); err != io.EOF {
				t.Errorf("after QUIT: %v, want the end", err)
			}
		})
	}
}

// TestPipelining has commands, messages and literals come in one piece.
func TestPipelining(t *testing.T) {
	for _, sendfile := range []bool{false, true} {
		s := startWith(t, sink.Options{IMAP: []string{"127.0.0.1:0"}, SendFile: sendfile})
		t.Run(fmt.Sprintf("sendfile %t", sendfile), func(t *testing.T) { pipeline(t, s) })
	}
}

func pipeline(t *testing.T, s *sink.Server) {
	const size = 1<<20 + 1
	c := connect(t, s.IMAP()[0])
	go func() { // there is more than sockets hold
		_, _ = io.WriteString(c, "1 LOGIN {1+}\r\nu p\r\n"+
			fmt.Sprintf("2 FETCH 1 BODY[]<0.%d>\r\n", size)+
			fmt.Sprintf("3 APPEND INBOX {%d+}\r\n", size)+string(bulk.Page())+"x\r\n"+
			strings.Repeat("4 NOOP\r\n", 5000)+
			"5 FETCH 1 BODY[]<0.10000>\r\n6 FETCH 1 BODY[]<0.0>\r\n7 IDLE\r\nDONE\r\n8 LOGOUT\r\n")
	}()
	c.expect("* OK", "1 OK")
	for _, fetch := range []struct {
		tag  string
		size int
	}{{"2", size}, {"5", 10000}, {"6", 0}} {
		c.expect(fmt.Sprintf("* 1 FETCH (BODY[]<0> {%d}\r\n", fetch.size))
		body := make([]byte, fetch.size)
		if _, err := io.ReadFull(c.in, body); err != nil {
			t.Fatal(err)
		}
		for i, b := range body {
			if b != bulk.Page()[i%len(bulk.Page())] {
				t.Fatalf("octet %d of %d is another", i, fetch.size)
			}
		}
		c.expect(")", fetch.tag+" OK")
		if fetch.tag == "2" {
			c.expect("3 OK")
			for range 5000 {
				c.expect("4 OK")
			}
		}
	}
	c.expect("+", "7 OK", "* BYE", "8 OK")
	if got := s.Stats(); got.Logins != 1 || got.Sent != size+10000 || got.Received != size {
		t.Errorf("counted %+v", got)
	}
}

// TestMessagesOfPOP3 wants messages that end where a client sees their end.
func TestMessagesOfPOP3(t *testing.T) {
	s := start(t)
	c := connect(t, s.POP3()[0])
	c.expect("+OK")
	c.send("USER u\r\nPASS p\r\n")
	c.expect("+OK", "+OK")
	sizes := []int{2, 3, 64, 65, 66, 1000, 1<<20 - 1, 1 << 20, 3<<20 + 5}
	sum := int64(0)
	for _, size := range sizes {
		c.send(fmt.Sprintf("RETR %d\r\n", size))
		c.expect("+OK")
		got := 0
		for {
			line, err := c.in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == ".\r\n" {
				break
			}
			if strings.HasPrefix(line, ".") {
				t.Fatalf("%q: a dot that is not doubled", line)
			}
			got += len(line)
		}
		if got != size {
			t.Errorf("%d octets, want %d", got, size)
		}
		sum += int64(size)
	}
	if got := s.Stats().Sent; got != sum {
		t.Errorf("counted %d octets, want %d", got, sum)
	}
}

// TestRunEnds has connections open when the server is told to end.
func TestRunEnds(t *testing.T) {
	s, err := sink.Listen(sink.Options{IMAP: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	c := connect(t, s.IMAP()[0])
	c.expect("* OK")
	if got := s.Stats(); got.Sessions != 1 || got.Open != 1 {
		t.Errorf("counted %+v, want one session, open", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := c.in.ReadByte(); err == nil {
		t.Error("the connection is still served")
	}
	if got := s.Stats(); got.Open != 0 {
		t.Errorf("counted %+v, want none open", got)
	}
}

func TestListenWrong(t *testing.T) {
	for name, o := range map[string]sink.Options{
		"nowhere":      {},
		"no address":   {POP3: []string{"127.0.0.1"}},
		"one is wrong": {IMAP: []string{"127.0.0.1:0", "nowhere"}},
	} {
		if _, err := sink.Listen(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
