package cluster

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// complainEvery is the least time between two warnings about strangers.
const complainEvery = time.Minute

// maxMet bounds the addresses of members that are remembered: a large fleet whose
// nodes change their address daily for a year. Then it begins anew.
const maxMet = 16384

// errSilent is what a peer did that held the port and said nothing, or too little.
var errSilent = errors.New("no handshake within " + handshakeTime.String())

// A listener of what a peer says first: whether it has said anything.
type spoken struct {
	net.Conn
	yes bool // the reader's own
}

// Read implements net.Conn.
func (s *spoken) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.yes = s.yes || n > 0
	return n, err
}

// meet notes that an address is one of the fleet's.
func (p *port) meet(address string) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.met == nil || len(p.met) >= maxMet {
		p.met = make(map[string]struct{})
	}
	p.met[host] = struct{}{}
}

// failed logs that a handshake came to nothing. Who hangs up before he has said
// anything wanted nothing (a check of the port, a dial that was given up), and a
// member may hang up at any time: it is being stopped, or it dialled and did not
// want to wait. All others are strangers.
func (p *port) failed(from net.Addr, spoke bool, err error) {
	host, _, _ := net.SplitHostPort(from.String())
	p.mu.Lock()
	_, met := p.met[host]
	p.mu.Unlock()
	if hungUp(err) && (!spoke || met) || p.closed() {
		p.log.Debug("a connection to the fleet port was given up", "client", from, "err", err)
		return
	}
	p.refused(from.String(), err)
}

// hungUp says whether an error means that the peer has closed the connection.
func hungUp(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

func (p *port) closed() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// refused logs a stranger, once a minute.
func (p *port) refused(from string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept++
	if time.Since(p.complain) < complainEvery {
		return
	}
	p.log.Warn("a connection to the fleet port was refused", "event", "fleet_port_refused", "client", from, "err", err, "since_last", p.kept)
	p.complain, p.kept = time.Now(), 0
}

// errLabel is what a peer did that has our secret and another fleet's name.
var errLabel = errors.New("it is of another fleet with the same secret: give each fleet a secret of its own")

// A labels is memberlist's log, of which one thing is worth a line: who comes with
// another label. It tells nobody else.
type labels struct{ p *port }

// Write implements io.Writer; log.Logger calls it once for each line.
func (l labels) Write(line []byte) (int, error) {
	text := string(line)
	if strings.Contains(text, "unacceptable label") {
		_, from, _ := strings.Cut(text, "from=")
		l.p.refused(strings.TrimSpace(from), errLabel)
	}
	return len(line), nil
}
