package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/balancer/balancertest"
	"usher.example/balancer/forward"
	"usher.example/balancer/handshake"
	"usher.example/cmd/internal/config"
	"usher.example/health"
)

// A plant is a node in this process, with its configuration file. A test changes
// it and calls reload.
type plant struct {
	t    *testing.T
	path string
	log  *lockedBuffer
	node *node
	web  *web

	socket   string // for orders; empty: none
	more     string // listeners beside the one without TLS
	head     string // keys ahead of all others
	pool     string // keys of the pool
	health   string // keys of [pool.health]
	stateDir string
	backends map[string]string // address by name
	order    []string          // names
}

// A lockedBuffer is written by a logger and read by a test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends to the buffer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newPlant has a pool with shared storage and no back end.
func newPlant(t *testing.T) *plant {
	t.Helper()
	return &plant{
		t: t, path: filepath.Join(t.TempDir(), "usher.toml"), stateDir: t.TempDir(), log: new(lockedBuffer),
		pool: "storage = \"shared\"\n", health: "interval = \"1s\"\ntimeout = \"1s\"\n", backends: make(map[string]string),
	}
}

// add puts a back end into the configuration, or another server under its name.
func (p *plant) add(name, script string, serve func(*balancertest.Conn)) *balancertest.Backend {
	p.t.Helper()
	b := balancertest.NewBackend(p.t, serve)
	if p.backends[name] == "" {
		p.order = append(p.order, name)
	}
	p.backends[name] = fmt.Sprintf("host = %q\nimap_port = %d\n%s", b.Host(), b.Port(), script)
	return b
}

// mail adds a well-behaved server, which calls itself server.
func (p *plant) mail(name, server string) *balancertest.Backend {
	p.t.Helper()
	return p.add(name, "", balancertest.IMAP(server))
}

func (p *plant) write() {
	p.t.Helper()
	var b strings.Builder
	if !strings.Contains(p.head, "withdraw") {
		b.WriteString("withdraw = \"0s\"\n") // nobody looks who has to notice
	}
	b.WriteString(p.head)
	if !strings.Contains(p.head, "[fleet]") {
		fmt.Fprintf(&b, "[fleet]\nstate_dir = %q\nkick_delay = \"0s\"\n", p.stateDir)
	}
	fmt.Fprintf(&b, "[admin]\nsocket = %q\nhttp = \"\"\n[limits]\ndial_tries = 1\n%s", p.socket, p.more)
	b.WriteString(
		"[[listener]]\nname = \"imap\"\naddress = \"127.0.0.1:0\"\nprotocol = \"imap\"\ntls = \"none\"\nplaintext_login = true\n" +
			"[[pool]]\nname = \"main\"\ntls = \"none\"\n" + p.pool + "[pool.health]\n" + p.health)
	for _, name := range p.order {
		fmt.Fprintf(&b, "[[pool.backend]]\nname = %q\n%s", name, p.backends[name])
	}
	if err := os.WriteFile(p.path, []byte(b.String()), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plant) load() *config.Config {
	p.t.Helper()
	p.write()
	c, _, err := load(p.t.Context(), p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// start brings the node up; it ends with the test.
func (p *plant) start() {
	p.t.Helper()
	c := p.load()
	n, web, err := bringUp(p.t.Context(), c, newLogger(p.log, c.Log))
	if err != nil {
		p.t.Fatal(err)
	}
	p.node, p.web = n, web
	p.t.Cleanup(func() { n.stop(expired()); web.close() })
}

func (p *plant) reload() {
	p.t.Helper()
	if err := p.node.apply(p.load()); err != nil {
		p.t.Fatal(err)
	}
}

// A caller is a client that has logged in.
type caller struct {
	net.Conn
	in *bufio.Reader
}

// call logs in; an error is what the client was told instead of yes.
func (p *plant) call(user string) (*caller, error) {
	conn, err := net.Dial("tcp", p.node.server.Addr("imap").String())
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	c := &caller{conn, bufio.NewReader(conn)}
	if line, err := c.ask("a", "LOGIN "+user+" good"); err != nil || !strings.HasPrefix(line, "a OK") {
		conn.Close()
		return nil, fmt.Errorf("%q %w", line, err)
	}
	return c, nil
}

// ask sends a command and returns its tagged answer.
func (c *caller) ask(tag, command string) (string, error) {
	fmt.Fprintf(c, "%s %s\r\n", tag, command)
	for {
		line, err := c.in.ReadString('\n')
		if err != nil || strings.HasPrefix(line, tag+" ") {
			return strings.TrimSpace(line), err
		}
	}
}

// enter logs in, ends with the test, and returns which server answers.
func (p *plant) enter(user string) (c *caller, server string) {
	p.t.Helper()
	c, err := p.call(user)
	if err != nil {
		p.t.Fatalf("%s: %v", user, err)
	}
	p.t.Cleanup(func() { c.Close() })
	line, err := c.ask("b", "NOOP")
	if err != nil {
		p.t.Fatalf("%s: %v", user, err)
	}
	return c, strings.TrimPrefix(line, "b OK ")
}

// userOf finds a user whose home is the back end.
func (p *plant) userOf(backend string) string {
	p.t.Helper()
	for i := range 1000 {
		user := fmt.Sprintf("user%d", i)
		if w, err := p.node.fleet.Where("main", user); err == nil && w.Home == backend {
			return user
		}
	}
	p.t.Fatalf("nobody's home is %s", backend)
	return ""
}

// state is what the checker of a back end knows.
func (p *plant) state(backend string) health.Status {
	p.t.Helper()
	for _, h := range p.node.health() {
		if h.Backend == backend {
			return h.Status
		}
	}
	p.t.Fatalf("nobody checks %s", backend)
	return health.Status{}
}

// up tells whether the places take a back end for one that serves.
func (p *plant) up(backend string) bool {
	p.t.Helper()
	for _, b := range p.node.fleet.Status()[0].Backends {
		if b.Name == backend {
			return b.Up
		}
	}
	return false
}

// await waits for what must happen soon and can only be looked at.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.After(20 * time.Second); !done(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// TestFallbacks: the metrics name every reason that there is.
func TestFallbacks(t *testing.T) {
	var all []string
	for _, why := range handshake.Reasons()[2:] {
		all = append(all, why.String())
	}
	for _, why := range forward.Fallbacks() {
		all = append(all, why.String())
	}
	if !slices.Equal(all, admin.Fallbacks) {
		t.Errorf("the metrics have %q, there are %q", admin.Fallbacks, all)
	}
}
