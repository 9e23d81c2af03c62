package peers

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"text/template"

	"usher.example/bench/gauge"
)

// Ports of every target, at an address of its own.
const (
	portIMAP  = 2143
	portIMAPS = 2993
	portPOP3  = 2110
	portPOP3S = 2995
	portHTTP  = 2180
	portFleet = 2946
	portHold  = 2999 // nobody uses it: who listens there owns the address
)

const (
	// descriptors is how many files a target may open, if this process may: 9,500
	// sessions have two each, and something is needed beside them.
	descriptors = 20_000

	// spare is how many of them are not for sessions: listeners, epoll, pipes.
	spare = 400

	// backlog of every listener. The kernel takes net.core.somaxconn for more.
	backlog = 16_384

	// addressTries is how many of 64,516 addresses are tried.
	addressTries = 32

	// tail is how much of a log an error shows.
	tail = 2 << 10
)

//go:embed conf
var conf embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(conf, "conf/*"))

// A place is where a target runs. Templates see its exported fields and methods.
type place struct {
	Site
	Name     string
	Dir      string // of its own
	Host     string // a loopback address of its own
	PEMFile  string // certificate and key in one
	Files    int    // descriptors that it may have
	Backlog  int
	Rootless bool

	hold  net.Listener
	group *gauge.Group
	aside *gauge.Group
}

// open makes a place for a target.
func (s Site) open(name string) (p *place, err error) {
	if s.Workers == 0 {
		s.Workers = runtime.NumCPU()
	}
	p = &place{Site: s, Name: name, Backlog: backlog, Rootless: os.Getuid() != 0}
	defer func() {
		if err != nil {
			_ = p.close((*gauge.Group).Kill)
		}
	}()
	if p.Files, err = RaiseFiles(); err != nil {
		return p, err
	}
	if p.hold, p.Host, err = reserve(); err != nil {
		return p, err
	}
	if p.Dir, err = os.MkdirTemp(s.Dir, name+"-"); err != nil {
		return p, err
	}
	if err = os.Chmod(p.Dir, 0o755); err != nil { // peers give up root before they look into it
		return p, err
	}
	if p.group, err = gauge.NewGroup(name); err != nil {
		return p, err
	}
	p.PEMFile = p.File("both.pem")
	var both []byte
	for _, file := range []string{s.CertFile, s.KeyFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			return p, err
		}
		both = append(both, text...)
	}
	return p, os.WriteFile(p.PEMFile, both, 0o600)
}

// RaiseFiles has this process and so all that it starts open as many files as it may,
// but no more than 20,000: some programs make tables of that size. It returns how many.
func RaiseFiles() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("ask how many files may be open: %w", err)
	}
	n := min(limit.Max, descriptors)
	limit.Cur = max(limit.Cur, n)
	// Go gives children the limit that it has found itself, unless it was set since.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("raise the limit of open files: %w", err)
	}
	return int(n), nil
}

// reserve finds a loopback address that nobody has who uses this package.
func reserve() (net.Listener, string, error) {
	for range addressTries {
		addr := netip.AddrFrom4([4]byte{127, 79, byte(1 + rand.IntN(254)), byte(1 + rand.IntN(254))})
		if l, err := net.Listen("tcp", netip.AddrPortFrom(addr, portHold).String()); err == nil {
			return l, addr.String(), nil
		}
	}
	return nil, "", errors.New("no address of 127.79.0.0/16 is free: is there a loopback interface?")
}

// File is a path in the target's own directory.
func (p *place) File(name string) string { return filepath.Join(p.Dir, name) }

// Sessions is how many sessions the descriptors are good for.
func (p *place) Sessions() int { return (p.Files - spare) / 2 }

// Addresses of the listeners.

func (p *place) IMAP() string  { return p.at(portIMAP) }
func (p *place) IMAPS() string { return p.at(portIMAPS) }
func (p *place) POP3() string  { return p.at(portPOP3) }
func (p *place) POP3S() string { return p.at(portPOP3S) }
func (p *place) HTTP() string  { return p.at(portHTTP) }
func (p *place) Fleet() string { return p.at(portFleet) }

func (p *place) at(port int) string { return net.JoinHostPort(p.Host, strconv.Itoa(port)) }

// addr is the listener of a service; STARTTLS and plaintext share one.
func (p *place) addr(protocol, security string) string {
	switch {
	case protocol == imap && security == implicit:
		return p.IMAPS()
	case protocol == imap:
		return p.IMAP()
	case security == implicit:
		return p.POP3S()
	default:
		return p.POP3()
	}
}

// Host and port of an address.

func (p *place) HostOf(addr string) (string, error) {
	host, _, err := net.SplitHostPort(addr)
	return host, err
}

func (p *place) PortOf(addr string) (string, error) {
	_, port, err := net.SplitHostPort(addr)
	return port, err
}

// write fills a template of conf and returns the file's path.
func (p *place) write(name string, data any) (string, error) { return p.writeAs(name, name, data) }

// writeAs is write for who needs a template more than once: the file has a name of its own.
func (p *place) writeAs(file, name string, data any) (string, error) {
	var text bytes.Buffer
	if err := templates.ExecuteTemplate(&text, name, data); err != nil {
		return "", err
	}
	path := p.File(file)
	return path, os.WriteFile(path, text.Bytes(), 0o644)
}

// start starts a program in a group, with what it says in a file.
func (p *place) start(g *gauge.Group, cmd *exec.Cmd) error {
	out, err := os.OpenFile(p.File("output.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close() // the child has its own
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.Stderr, cmd.Dir = out, p.Dir
	return g.Start(cmd)
}

// target waits until all that is served is served.
func (p *place) target(ctx context.Context, peer Peer) (*Target, error) {
	t := &Target{Group: p.group, Aside: p.aside, Addr: p.addr, place: p}
	return t, p.ready(ctx, t, peer)
}

// serve opens a place for a peer, has begin start its programs there, and waits until
// they serve. What fails is closed.
func (s Site) serve(ctx context.Context, peer Peer, begin func(*place) error) (*Target, error) {
	p, err := s.open(peer.Name)
	if err != nil {
		return nil, err
	}
	if err := begin(p); err != nil {
		return nil, p.failed(err)
	}
	t, err := p.target(ctx, peer)
	if err != nil {
		return nil, p.failed(err)
	}
	return t, nil
}

// failed closes the place and adds what its log says to an error.
func (p *place) failed(err error) error {
	logs := p.logs()
	_ = p.close((*gauge.Group).Kill)
	if logs == "" {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return fmt.Errorf("%s: %w; it says:\n%s", p.Name, err, logs)
}

// logs are the ends of all logs.
func (p *place) logs() string {
	files, _ := filepath.Glob(p.File("*.log")) // the pattern is well-formed
	var b strings.Builder
	for _, file := range files {
		text, _ := os.ReadFile(file)
		b.Write(text[max(0, len(text)-tail):])
	}
	return strings.TrimSpace(b.String())
}

// close ends what runs and removes what is left.
func (p *place) close(end func(*gauge.Group) error) error {
	var errs []error
	for _, g := range []*gauge.Group{p.group, p.aside} {
		if g != nil {
			errs = append(errs, end(g))
		}
	}
	if p.Dir != "" {
		errs = append(errs, os.RemoveAll(p.Dir))
	}
	if p.hold != nil {
		p.hold.Close()
	}
	return errors.Join(errs...)
}
