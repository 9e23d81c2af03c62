package config

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"
)

// Times that Check goes by.
const (
	// resolveTime bounds all name lookups together: an operator waits for
	// `usher check`, and a dead resolver must not hold up a start.
	resolveTime = 5 * time.Second
	// resolvers is how many lookups run at once.
	resolvers = 16
	// renewTime is when a certificate should have been renewed: ACME clients do
	// it 30 days before the end, so something has failed by then. Of a life that
	// is shorter than three times as long, a third counts.
	renewTime = 14 * 24 * time.Hour
)

// descriptorsPerSession is what a session of two plaintext connections holds:
// the two, and a pipe of two ends for each direction that is spliced.
const descriptorsPerSession = 6

// A machine is what Check asks about the host.
type machine struct {
	now         func() time.Time
	resolve     func(ctx context.Context, host string) ([]netip.Addr, error)
	hostname    func() string
	mayBind     func(port int) bool
	descriptors func() (limit uint64, ok bool)
}

var thisHost = machine{
	now: time.Now,
	resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	},
	hostname: func() string {
		name, _ := os.Hostname() // none is no voter's
		return name
	},
	mayBind:     mayBind,
	descriptors: descriptors,
}

// Check tries what the configuration names on this host: certificates and keys,
// CAs, secrets, pins, names of back ends, ports. It opens files and asks the
// resolver, but connects to nobody. Problems that are no warnings would keep
// usher from serving somebody; the warnings are what an operator should know.
// It takes at most a few seconds, less if ctx ends first.
func (c *Config) Check(ctx context.Context) Problems { return c.check(ctx, thisHost) }

func (c *Config) check(ctx context.Context, m machine) Problems {
	k := &checker{reporter: reporter{source: c.source}, machine: m, c: c}
	k.admin()
	k.fleet()
	k.acme()
	tell := k.peers(ctx) // at the same time as the back ends
	for i, l := range c.Listeners {
		k.listener(element("listener", i), l)
	}
	for i, p := range c.Pools {
		k.pool(element("pool", i), p)
	}
	k.limits()
	k.servers()
	k.hosts(ctx)
	tell()
	k.found.sort()
	return k.found
}

// A checker is one run of Check.
type checker struct {
	reporter
	machine
	c *Config
}

// fail reports an error at path, once: back ends share their pool's files.
func (k *checker) fail(path, format string, args ...any) {
	k.at(path, format, args...)
	k.once()
}

// note is fail for warnings.
func (k *checker) note(path, format string, args ...any) {
	k.warn(path, format, args...)
	k.once()
}

func (k *checker) once() {
	last := len(k.found) - 1
	if slices.Contains(k.found[:last], k.found[last]) {
		k.found = k.found[:last]
	}
}

func (k *checker) admin() {
	k.api()
	a := k.c.Admin
	if a.SocketGroup != "" {
		if _, err := strconv.Atoi(a.SocketGroup); err != nil {
			if _, err := user.LookupGroup(a.SocketGroup); err != nil {
				k.fail("admin.socket_group", "socket_group: %v", err)
			}
		}
	}
	if addr, err := parseListen(a.HTTP); err == nil && !addr.Addr().IsLoopback() {
		k.note("admin.http", "http: %s is no loopback address, and whoever reaches it can read health and metrics", a.HTTP)
	}
	if addr, err := parseListen(a.HTTP); err == nil {
		k.port("admin.http", int(addr.Port()))
	}
}

// port warns of one that the kernel would refuse us.
func (k *checker) port(path string, port int) {
	if port != 0 && !k.mayBind(port) {
		k.note(path, "%s: port %d is privileged, and this process lacks CAP_NET_BIND_SERVICE", lastKey(path), port)
	}
}

// lateNo is the login_time that leaves a try the 17 s after which a Dovecot says no at
// the latest: 2 s are for the answer, and half of what is left may go by before.
const lateNo = 36 * time.Second

func (k *checker) limits() {
	if t := k.c.Limits.LoginTime; k.c.Guard.Enabled && t < lateNo {
		k.note("limits.login_time", "login_time: %v may be over before a back end says no to a wrong password, which is not counted then; from %v on it is", t, lateNo)
	}
	limit, ok := k.descriptors()
	if want := uint64(k.c.Limits.Sessions) * descriptorsPerSession; ok && limit < want {
		k.note("limits.sessions", "sessions: %d of them may need %d descriptors, and this process may open %d (LimitNOFILE)",
			k.c.Limits.Sessions, want, limit)
	}
}

func (k *checker) listener(path string, l Listener) {
	if addr, err := parseListen(l.Address); err == nil {
		k.port(join(path, "address"), int(addr.Port()))
		k.usual(join(path, "tls"), int(addr.Port()), l.TLS)
		if l.PlaintextLogin && !addr.Addr().IsLoopback() {
			k.note(join(path, "plaintext_login"), "plaintext_login: passwords may cross the network in clear")
		}
	}
	for _, list := range []struct {
		key, risk string
		nets      []netip.Prefix
	}{
		{"plaintext_networks", "may send its password in clear", l.PlaintextNetworks},
		{"proxy_networks", "may claim any client address, and nobody gets in without a PROXY header", l.ProxyNetworks},
		{"trusted_networks", "may claim any client address", l.TrustedNetworks},
	} {
		for i, n := range list.nets {
			if n.Bits() == 0 {
				k.note(element(join(path, list.key), i), "%s: %s is the whole Internet, and everybody in it %s", list.key, n, list.risk)
			}
		}
	}
	if l.TLS == TLSNone {
		return
	}
	k.version(join(path, "tls_min"), l.TLSMin)
	for i, crt := range l.Certificates {
		at := element(join(path, "certificates"), i)
		if !k.has(join(path, "certificates")) {
			at = element("certificate", i)
		}
		if crt.CertFile != "" {
			// The clock may be wrong at a boot, and mail with a certificate that is
			// over is better than none.
			k.pair(join(at, "cert_file"), crt.CertFile, join(at, "key_file"), crt.KeyFile, k.note)
		}
		k.directory(join(at, "cert_dir"), crt.CertDir)
		k.demanded(join(at, "on_demand_file"), crt.OnDemandFile)
	}
	k.authorities(join(path, "client_ca_file"), l.ClientCAFile)
}

// usual warns of a port that has a meaning (RFC 8314 §7), used otherwise.
func (k *checker) usual(path string, port int, mode TLSMode) {
	switch implicit := mode == TLSImplicit; {
	case (port == 993 || port == 995) && !implicit:
		k.note(path, "tls = %q on port %d, where all others do implicit TLS", mode, port)
	case (port == 143 || port == 110) && implicit:
		k.note(path, "tls = %q on port %d, where all others start in plaintext", mode, port)
	}
}

func (k *checker) version(path string, v TLSVersion) {
	if v == TLS10 || v == TLS11 {
		k.note(path, "tls_min: TLS %s is obsolete (RFC 8996)", v)
	}
}

// hosts looks up the back ends' names, those that are not addresses.
func (k *checker) hosts(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	type answer struct {
		addrs []netip.Addr
		err   error
		done  chan struct{}
	}
	answers := map[string]*answer{}
	slots := make(chan struct{}, resolvers)
	for _, p := range k.c.Pools {
		for _, be := range p.Backends {
			if _, known := knownAddr(be.Host); known || answers[be.Host] != nil {
				continue
			}
			a := &answer{done: make(chan struct{})}
			answers[be.Host] = a
			go func() {
				defer close(a.done)
				slots <- struct{}{}
				defer func() { <-slots }()
				a.addrs, a.err = k.resolve(ctx, be.Host)
			}()
		}
	}
	for i, p := range k.c.Pools {
		for j, be := range p.Backends {
			a := answers[be.Host]
			if a == nil {
				continue
			}
			<-a.done
			path := element(element("pool", i)+".backend", j)
			var dns *net.DNSError
			switch {
			case errors.As(a.err, &dns) && dns.IsNotFound:
				k.fail(join(path, "host"), "host: %q does not exist", be.Host)
			case a.err != nil: // the resolver's trouble may be over soon
				k.note(join(path, "host"), "host: look up %q: %v", be.Host, a.err)
			}
			for _, addr := range a.addrs {
				k.circle(join(path, "imap_port"), k.c, addr, be.IMAPPort)
				k.circle(join(path, "pop3_port"), k.c, addr, be.POP3Port)
			}
		}
	}
}
