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

// Configure chooses free ports for the balancer and writes the usher.toml. A
// port may be taken by somebody else until the balancer listens there: then
// configure again.
func (s *Site) Configure() error {
	if err := freePorts(&s.IMAPS, &s.IMAP, &s.HTTP); err != nil {
		return fmt.Errorf("find free ports: %w", err)
	}
	var b strings.Builder
	err := configTemplate.Execute(&b, map[string]any{
		"Host": Host, "IMAPS": s.IMAPS, "IMAP": s.IMAP, "HTTP": s.HTTP, "Socket": s.Socket(),
		"CAFile": s.CAFile(), "CertFile": s.certFile(), "KeyFile": s.keyFile(),
		"Interval": ProbeInterval, "Fall": ProbeFall, "Rise": ProbeRise, "Backends": s.backends(),
		"Pool": Pool, "Address": loopback,
	})
	if err != nil {
		return fmt.Errorf("write usher.toml: %w", err)
	}
	return os.WriteFile(s.ConfigFile(), []byte(b.String()), 0o600)
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
