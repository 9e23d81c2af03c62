package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"usher.example/balancer"
	"usher.example/balancer/certs"
	"usher.example/balancer/guard"
	"usher.example/cluster"
	"usher.example/cluster/place"
	"usher.example/cmd/internal/config"
	"usher.example/health"
	"usher.example/sniff"
	"usher.example/sniff/imap"
	"usher.example/sniff/pop3"
)

// protocols is the list of what usher speaks.
var protocols = map[config.Protocol]sniff.Protocol{
	config.IMAP: imap.Protocol{},
	config.POP3: pop3.Protocol{},
}

// load reads the configuration and tries what it names. The warnings are those
// of a configuration that works.
func load(ctx context.Context, path string) (*config.Config, config.Problems, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, nil, err
	}
	found := append(append(cfg.Check(ctx), checkFleet(cfg)...), checkAPI(cfg)...)
	if bad := found.Errors(); len(bad) > 0 {
		return nil, found.Warnings(), bad
	}
	w, err := translate(cfg) // as a start will
	if err != nil {
		return nil, found.Warnings(), err
	}
	more, err := tryCertificates(cfg, w)
	found = append(found, more...)
	if err != nil {
		return nil, found.Warnings(), err
	}
	return cfg, found.Warnings(), nil
}

// A wiring is a configuration in each package's own terms.
type wiring struct {
	balancer balancer.Options
	certs    certs.Plan
	places   []cluster.Pool
	checks   []check
	guard    guard.Options
}

// A check is how one back end is examined.
type check struct {
	pool, backend string
	address       string // of the server, as the places know it
	how           balancer.Probe
	options       health.Options
}

// translate makes a wiring of a configuration. It reads CAs, secrets and pins, so
// that what a reload puts into force is whole; the listeners' certificates are
// read by the keeper.
func translate(c *config.Config) (*wiring, error) {
	w := new(wiring)
	w.balancer.Hostname = c.Hostname
	if w.balancer.Hostname == "" {
		w.balancer.Hostname, _ = os.Hostname()
	}
	w.balancer.Limits = limits(c.Limits)
	w.guard = guardOptions(c.Guard)
	w.balancer.Limits.Exempt = w.guard.Exempt
	var err error
	w.certs, err = certificates(c)
	errs := []error{err}
	for _, l := range c.Listeners {
		lo, err := listenerOptions(l)
		errs = append(errs, err)
		w.balancer.Listeners = append(w.balancer.Listeners, lo)
	}
	for _, p := range c.Pools {
		errs = append(errs, w.addPool(c, p))
	}
	errs = append(errs, cluster.Validate(w.places))
	return w, errors.Join(errs...)
}

func limits(l config.Limits) balancer.Limits {
	wait := l.DialWait
	if wait == 0 {
		wait = -1 // written out as none
	}
	return balancer.Limits{
		Sessions: l.Sessions, PerAddress: l.SessionsPerAddress, PerUser: l.SessionsPerUser, Prelogin: l.Prelogin, LoginTime: l.LoginTime,
		DialTimeout: l.DialTimeout, DialTries: l.DialTries, DialWait: wait, BackendLoginTime: l.BackendLoginTime,
	}
}

var tlsModes = map[config.TLSMode]balancer.TLSMode{
	config.TLSNone: balancer.TLSNone, config.TLSStart: balancer.TLSStart, config.TLSImplicit: balancer.TLSImplicit,
}

func listenerOptions(l config.Listener) (balancer.ListenerOptions, error) {
	o := balancer.ListenerOptions{
		Name: l.Name, Address: l.Address, Protocol: protocols[l.Protocol], TLS: tlsModes[l.TLS], Pool: l.Pool,
		PlaintextLogin: l.PlaintextLogin, PlaintextNetworks: l.PlaintextNetworks, ProxyNetworks: l.ProxyNetworks,
		TrustedNetworks: l.TrustedNetworks, Sessions: l.Sessions,
	}
	for _, m := range l.Mechanisms {
		o.Mechanisms = append(o.Mechanisms, sniff.Mechanism(m))
	}
	if l.TLS == config.TLSNone {
		return o, nil
	}
	cfg := listenerTLS(l.TLSMin.Number())
	if l.ClientCAFile != "" {
		var err error
		if cfg.ClientCAs, err = authorities(l.ClientCAFile); err != nil {
			return o, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	o.Config = cfg
	return o, nil
}

func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it", file)
	}
	return pool, nil
}

// minDownProbes is how many intervals a back end that fell stays down at least,
// so that who asks for short intervals also gets a short damping. Health's own
// default is never exceeded, and holds with the default interval.
const minDownProbes = 5

// addPool translates a pool for the balancer, the places and the health checks.
func (w *wiring) addPool(c *config.Config, p config.Pool) error {
	po := balancer.PoolOptions{Name: p.Name, Local: p.Storage == config.Local, Capabilities: map[string][]string{
		string(config.IMAP): p.IMAPCapabilities, string(config.POP3): p.POP3Capabilities,
	}}
	for _, l := range c.Listeners {
		if proto := protocols[l.Protocol]; l.Pool == p.Name && !slices.Contains(po.Protocols, proto) {
			po.Protocols = append(po.Protocols, proto)
		}
	}
	var errs []error
	if p.MasterUser != "" {
		password, err := config.ReadSecret(p.MasterPasswordFile)
		errs = append(errs, err)
		po.Master = &sniff.Master{User: p.MasterUser, Password: sniff.Secret(password), Separator: p.MasterSeparator}
	}
	how, err := probe(p.Health)
	errs = append(errs, err)
	storage := place.Shared
	if po.Local {
		storage = place.Local
	}
	places := cluster.Pool{Name: p.Name, Storage: storage}
	for _, b := range p.Backends {
		bo, err := backendOptions(b)
		errs = append(errs, err)
		po.Backends = append(po.Backends, bo)
		places.Backends = append(places.Backends, cluster.Backend{Name: b.Name, Address: identity(b), Weight: b.Weight})
		w.checks = append(w.checks, check{p.Name, b.Name, identity(b), how, health.Options{
			Interval: p.Health.Interval, Fast: p.Health.FastInterval, Timeout: p.Health.Timeout, Rise: p.Health.Rise, Fall: p.Health.Fall,
			MinDown: min(health.DefaultMinDown, minDownProbes*p.Health.Interval),
		}})
	}
	w.balancer.Pools = append(w.balancer.Pools, po)
	if p.PinsFile != "" {
		pins, err := cluster.ReadPins(p.PinsFile, names(c.Users), places)
		errs = append(errs, err)
		places.Pins, places.Mark, places.PinsFile = pins, cluster.MarkPins(pins), p.PinsFile
	}
	w.places = append(w.places, places)
	return errors.Join(errs...)
}

// identity tells servers from each other that have a name one after the other.
func identity(b config.Backend) string {
	host := strings.ToLower(strings.TrimSuffix(b.Host, "."))
	return fmt.Sprintf("%s %s=%d %s=%d", host, config.IMAP, b.IMAPPort, config.POP3, b.POP3Port)
}

var depths = map[config.Depth]sniff.Depth{
	config.DepthConnect: sniff.NoProbe, config.DepthGreeting: sniff.ProbeGreeting, config.DepthLogin: sniff.ProbeLogin,
}

func probe(h config.Health) (balancer.Probe, error) {
	how := balancer.Probe{Depth: depths[h.Depth], User: h.TestUser}
	if h.TestPasswordFile != "" {
		password, err := config.ReadSecret(h.TestPasswordFile)
		if err != nil {
			return how, err
		}
		how.Password = sniff.Secret(password)
	}
	return how, nil
}

var addressForms = map[config.ClientAddress]balancer.AddressForm{
	config.AddressNone: balancer.AddressNone, config.AddressProxy2: balancer.AddressProxy2,
	config.AddressProxy1: balancer.AddressProxy1, config.AddressCommand: balancer.AddressCommand,
}

// sessionsCached bounds the TLS sessions kept for resumption with one back end.
const sessionsCached = 64

func backendOptions(b config.Backend) (balancer.BackendOptions, error) {
	o := balancer.BackendOptions{
		Name: b.Name, Host: b.Host, Ports: make(map[string]int), TLS: tlsModes[b.TLS],
		Address: addressForms[b.ClientAddress], Sessions: b.Sessions,
	}
	if b.IMAPPort != 0 {
		o.Ports[string(config.IMAP)] = b.IMAPPort
	}
	if b.POP3Port != 0 {
		o.Ports[string(config.POP3)] = b.POP3Port
	}
	if b.TLS == config.TLSNone {
		return o, nil
	}
	cfg := &tls.Config{
		ServerName: b.TLSName, MinVersion: b.TLSMin.Number(),
		InsecureSkipVerify: b.TLSInsecure, // asked for in so many words; Check warns of it
		ClientSessionCache: tls.NewLRUClientSessionCache(sessionsCached),
	}
	if cfg.ServerName == "" {
		cfg.ServerName = strings.TrimSuffix(b.Host, ".")
	}
	if b.TLSCAFile != "" {
		var err error
		if cfg.RootCAs, err = authorities(b.TLSCAFile); err != nil {
			return o, fmt.Errorf("back end %s: %w", b.Name, err)
		}
	}
	if b.TLSCertFile != "" {
		pair, err := tls.LoadX509KeyPair(b.TLSCertFile, b.TLSKeyFile)
		if err != nil {
			return o, fmt.Errorf("back end %s: certificate %s: %w", b.Name, b.TLSCertFile, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	o.Config = cfg
	return o, nil
}

// names is how users' names become keys.
func names(u config.Users) place.Names {
	return place.Names{LowerCase: u.LowerCase, DefaultDomain: u.DefaultDomain, StripDomain: u.StripDomain}
}
