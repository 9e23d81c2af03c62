package cluster

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// A tape is a log whose lines a test waits for.
type tape chan slog.Record

func (tape) Enabled(context.Context, slog.Level) bool { return true }
func (t tape) Handle(_ context.Context, r slog.Record) error {
	select {
	case t <- r:
	default: // nobody wants so many
	}
	return nil
}
func (t tape) WithAttrs([]slog.Attr) slog.Handler { return t }
func (t tape) WithGroup(string) slog.Handler      { return t }

// await returns the next line that begins like that.
func (t tape) await(tb testing.TB, begin string) slog.Record {
	tb.Helper()
	var got slog.Record
	until(tb, begin, func() bool {
		select {
		case got = <-t:
			return strings.HasPrefix(got.Message, begin)
		default:
			return false
		}
	})
	return got
}

// hasty hangs up when it has said something.
type hasty struct{ net.Conn }

func (h hasty) Write(b []byte) (int, error) {
	n, err := h.Conn.Write(b)
	_ = h.Conn.Close()
	return n, err
}

// Who hangs up before he has said anything is not worth a warning, nor is a member
// that hangs up; everybody else who is refused is.
func TestStrangers(t *testing.T) {
	id, err := newIdentity("a", []Secret{NewSecret()})
	if err != nil {
		t.Fatal(err)
	}
	other, err := newIdentity("b", []Secret{NewSecret()})
	if err != nil {
		t.Fatal(err)
	}
	const member = "127.0.0.2"
	greet := func(who *identity, wrap func(net.Conn) net.Conn) func(net.Conn) {
		return func(c net.Conn) {
			peer := tls.Client(wrap(c), who.config(protoAPI))
			_, _ = peer.Read(make([]byte, 1)) // until it is refused
		}
	}
	same := func(c net.Conn) net.Conn { return c }
	early := func(c net.Conn) net.Conn { return hasty{c} }
	plain := func(c net.Conn) {
		_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	}
	for _, tt := range []struct {
		name, from string
		do         func(net.Conn)
		want       slog.Level
	}{
		{"a check of the port", "127.0.0.1", func(net.Conn) {}, slog.LevelDebug},
		{"a member's dial that was given up", member, greet(id, early), slog.LevelDebug},
		{"a stranger who gives up", "127.0.0.1", greet(id, early), slog.LevelWarn},
		{"plain text", "127.0.0.1", plain, slog.LevelWarn},
		{"a member in plain text", member, plain, slog.LevelWarn},
		{"another secret", "127.0.0.1", greet(other, same), slog.LevelWarn},
		{"a member with another secret", member, greet(other, same), slog.LevelWarn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines := make(tape, 16)
			p, err := openPort("127.0.0.1:0", "", id, slog.New(lines))
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			p.meet(net.JoinHostPort(member, "7946"))
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(tt.from)}}
			c, err := d.DialContext(t.Context(), "tcp", p.advertise.String())
			if err != nil {
				t.Fatal(err)
			}
			tt.do(c)
			_ = c.Close()
			if r := lines.await(t, "a connection to the fleet port was "); r.Level != tt.want {
				t.Errorf("got level %v, want %v: %s", r.Level, tt.want, r.Message)
			}
		})
	}
}

// A fleet of another name with the same secret is told of.
func TestOtherLabel(t *testing.T) {
	lines := make(tape, 4096)
	secret := NewSecret()
	open := func(fleet, node string, join ...string) *sitter {
		s := &sitter{sessions: make(map[uint64]string)}
		f, err := OpenFleet(FleetOptions{
			Fleet: fleet, Node: node, Secrets: []Secret{secret}, Bind: "127.0.0.1:0", Join: join, Voters: []string{node},
			State: filepath.Join(t.TempDir(), node), Local: s, Log: slog.New(lines),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.f = f
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx) }()
		t.Cleanup(func() { stop(); <-done; f.Close() })
		return s
	}
	a := open("mail", "a")
	open("news", "b", a.f.port.advertise.String())
	r := lines.await(t, "a connection to the fleet port was refused")
	told := ""
	r.Attrs(func(at slog.Attr) bool { told += at.String() + " "; return true })
	if r.Level != slog.LevelWarn || !strings.Contains(told, "another fleet with the same secret") || !strings.Contains(told, "client=127.0.0.1:") {
		t.Errorf("got %v %s", r.Level, told)
	}
}

// Nodes that come and go are no strangers to each other.
func TestNoNoise(t *testing.T) {
	lines := make(tape, 1<<16)
	t.Run("a life", func(t *testing.T) { // at whose end they are closed
		for _, s := range trio(t, func(o *FleetOptions) { o.Log = slog.New(lines) }) {
			await(t, s)
		}
	})
	for {
		select {
		case r := <-lines:
			if strings.Contains(r.Message, "fleet port was refused") {
				t.Errorf("%v %s", r.Level, r.Message)
			}
			continue
		default:
		}
		break
	}
}
