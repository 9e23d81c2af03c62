package strand

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds what a test waits for; nothing waits that long when it works.
const patience = 20 * time.Second

// long is set for the rows that take their time.
var long = os.Getenv("USHER_LONG") != ""

// past is a deadline that has passed.
var past = time.Unix(1, 0)

func TestMain(m *testing.M) {
	// From its first use on the runtime's poller keeps descriptors of its own, which no
	// test is to find.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close()
	}
	goleak.VerifyTestMain(m)
}

// files is how many descriptors the process has.
func files(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// open opens loops for a test, at whose end they must close and leave no descriptor.
func open(t testing.TB, n int) *Loops {
	t.Helper()
	before := files(t)
	ls, err := New(n, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		go func() { ls.Close(); close(closed) }()
		wait(t, closed, "the end of the loops")
		eventually(t, "as many descriptors as before", func() bool { return files(t) == before })
	})
	return ls
}

// wait waits for a channel to be closed, or to give something.
func wait[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

// eventually waits for something to be so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	over := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("never came to pass: %s", what)
		}
	}
}

// waiting waits until a connection's strand waits for it.
func waiting(t testing.TB, c *Conn) {
	t.Helper()
	eventually(t, "the strand waits", func() bool { return c.s.waits.Load() == c })
}

func listen(t testing.TB, address string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

// accept has loops serve a new address. As serve runs in a strand it must not end the
// test's goroutine: Errorf, not Fatalf.
func accept(t testing.TB, ls *Loops, serve func(*Conn)) (string, *Socket) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	s, err := ls.Socket(l)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Accept(serve, func(err error) { t.Errorf("accept failed: %v", err) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return l.Addr().String(), s
}

func dial(t testing.TB, address string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// A talk is one connection between a strand and a peer that is none.
type talk struct {
	peer *net.TCPConn
	conn *Conn
	done <-chan struct{} // closed at the end of the strand's part
}

func newTalk(t testing.TB, ls *Loops, serve func(*Conn)) talk {
	t.Helper()
	conn, done := make(chan *Conn, 1), make(chan struct{})
	address, _ := accept(t, ls, func(c *Conn) {
		defer close(done)
		defer c.Close() //nolint:errcheck // it may have been closed or released
		conn <- c
		serve(c)
	})
	peer := dial(t, address)
	return talk{peer: peer, conn: wait(t, conn, "an accepted connection"), done: done}
}

// run has a loop do a job in a strand. What is returned is closed at its end.
func run(l *loop, job func(*Strand)) <-chan struct{} {
	done := make(chan struct{})
	l.tell(func() {
		l.start(l.strand(), func(s *Strand) {
			defer close(done)
			job(s)
		})
	})
	return done
}

// hold keeps a loop from doing anything until what it returns is called.
func hold(t testing.TB, l *loop) (release func()) {
	t.Helper()
	held, end := make(chan struct{}), make(chan struct{})
	l.tell(func() { close(held); <-end })
	wait(t, held, "the loop to stand still")
	release = sync.OnceFunc(func() { close(end) })
	t.Cleanup(release)
	return release
}

// noise is a message of n octets.
func noise(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	return p
}

// echo returns what comes until it ends.
func echo(c net.Conn) error {
	_, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
	return err
}

// ask sends a word to an echo and wants it back.
func ask(t testing.TB, peer net.Conn, word string) {
	t.Helper()
	back := make([]byte, len(word))
	if _, err := io.WriteString(peer, word); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peer, back); err != nil || string(back) != word {
		t.Fatalf("got %q, %v back, want %q", back, err, word)
	}
}

// same compares what arrived with what was sent.
func same(t testing.TB, got, want []byte) {
	t.Helper()
	if sha256.Sum256(got) != sha256.Sum256(want) {
		t.Errorf("what arrived (%d octets) is not what was sent (%d octets)", len(got), len(want))
	}
}
