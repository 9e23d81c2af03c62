package demo

import (
	_ "embed" // for usher.toml
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"text/template"
)

//go:embed usher.toml.tmpl
var configText string

var configTemplate = template.Must(template.New("usher.toml").Funcs(template.FuncMap{"quote": quote}).Parse(configText))

// A Node is what one balancer of the site is given.
type Node struct {
	// Name is that of the node, which no other has.
	Name string
	// IMAPS, IMAP, HTTP and Fleet are where it is to listen: implicit TLS,
	// STARTTLS, health and metrics, and other nodes. [Site.Configure] sets them.
	IMAPS, IMAP, HTTP, Fleet netip.AddrPort

	site *Site
}

// ConfigFile is the node's usher.toml.
func (n *Node) ConfigFile() string { return n.site.file(n.Name + ".toml") }

// Socket is where the configuration wants the admin socket.
func (n *Node) Socket() string { return n.site.file(n.Name + ".sock") }

// StateDir is where the node keeps what makes it this node.
func (n *Node) StateDir() string { return n.site.file(n.Name + ".state") }

// Configure chooses free ports for the balancers and writes an usher.toml for each.
// A port may be taken by somebody else until the balancer listens there: then
// stop all and configure again. What they kept is removed: it names old ports.
func (s *Site) Configure() error {
	var free []*netip.AddrPort
	for _, n := range s.Nodes {
		free = append(free, &n.IMAPS, &n.IMAP, &n.HTTP, &n.Fleet)
	}
	if err := freePorts(free...); err != nil {
		return fmt.Errorf("find free ports: %w", err)
	}
	for _, n := range s.Nodes {
		if err := os.RemoveAll(n.StateDir()); err != nil {
			return fmt.Errorf("remove the state of %s: %w", n.Name, err)
		}
		if err := s.write(n); err != nil {
			return fmt.Errorf("write the usher.toml of %s: %w", n.Name, err)
		}
	}
	return nil
}

func (s *Site) write(n *Node) error {
	var b strings.Builder
	err := configTemplate.Execute(&b, map[string]any{
		"Host": Host, "Node": n, "Nodes": s.Nodes, "SecretFile": s.SecretFile(),
		"CAFile": s.CAFile(), "CertFile": s.certFile(), "KeyFile": s.keyFile(),
		"Interval": ProbeInterval, "Fall": ProbeFall, "Rise": ProbeRise, "Backends": s.backends(),
		"Pool": Pool, "Address": loopback, "KickDelay": KickDelay,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(n.ConfigFile(), []byte(b.String()), 0o600)
}

// freePorts sets each to a loopback address with a port that is free, no two
// to the same.
func freePorts(addrs ...*netip.AddrPort) (err error) {
	for _, a := range addrs {
		l, listenErr := net.Listen("tcp", netip.AddrPortFrom(loopback, 0).String())
		if listenErr != nil {
			return listenErr
		}
		defer func() { err = errors.Join(err, l.Close()) }() // after the last is chosen
		*a = localAddr(l)
	}
	return nil
}

// localAddr is where a TCP listener listens.
func localAddr(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }

type backendConfig struct {
	Name, TLSName string
	Port          uint16
	Weight        int
}

func (s *Site) backends() []backendConfig {
	var list []backendConfig
	for _, b := range s.Backends {
		list = append(list, backendConfig{Name: b.Name, TLSName: b.host(), Port: b.addr.Port(), Weight: b.Weight})
	}
	return list
}

// quote writes a value as a TOML string.
func quote(v any) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(fmt.Sprint(v)) + `"`
}
