package balancer_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/balancertest"
)

const (
	headerV1 = "PROXY TCP4 192.0.2.7 192.0.2.2 1024 143\r\n"
	headerV2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x02\x04\x00\x00\x8f"
)

func behindProxy(_ *rig, o *balancer.Options) {
	for i := range o.Listeners {
		o.Listeners[i].ProxyNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
}

// The header comes before TLS, in its own segment or with what follows.
func TestProxyHeaderOfATrustedPeer(t *testing.T) {
	for name, header := range map[string]string{"v1": headerV1, "v2": headerV2} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, one(t, balancertest.IMAP("store0")), behindProxy)
			c := r.dial("imap")
			c.say(header + "a LOGIN joe secret\r\n")
			c.expect("* OK")
			c.expect("a OK")
			s := r.dial("imaps")
			s.say(header)
			if err := s.secure(r.ca, nil); err != nil {
				t.Fatal(err)
			}
			s.expect("* OK")
			infos := r.server.Sessions("")
			if len(infos) != 2 || infos[0].Client != "192.0.2.7:1024" || infos[1].Client != "192.0.2.7:1024" {
				t.Errorf("sessions %+v", infos)
			}
		})
	}
}

// Wrong, missing and late headers end the connection, without a word.
func TestBadProxyHeaders(t *testing.T) {
	for name, in := range map[string]string{
		"missing": "a LOGIN joe secret\r\n", "malformed": "PROXY TCP4 joe jim 1 2\r\n",
		"TLV too long": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0f\xc0\x00\x02\x07\xc0\x00\x02\x02\x04\x00\x00\x8f\x02\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, one(t, func(c *balancertest.Conn) { t.Error("a back end was dialled"); c.Hang() }), behindProxy)
			c := r.dial("imap")
			c.say(in)
			if rest := c.closed(); rest != "" {
				t.Errorf("answered with %q", rest)
			}
			until(t, "it is counted", func() bool { return r.server.Stats()["imap"].Ended[balancer.ProxyHeader].Load() == 1 })
		})
	}
	t.Run("late", func(t *testing.T) {
		r := newRig(t, one(t, balancertest.IMAP("store0")), behindProxy)
		c := r.dial("imap")
		begin := time.Now()
		c.say(headerV1[:10])
		c.closed()
		if took := time.Since(begin); took < 2*time.Second || took > 5*time.Second {
			t.Errorf("closed after %v, want 3 s", took)
		}
	})
}

// A back end gets the header ahead of everything, and not an octet of the
// client's before it.
func TestProxyHeaderToBackend(t *testing.T) {
	for form, want := range map[balancer.AddressForm]string{
		balancer.AddressProxy1: "PROXY TCP4 192.0.2.7 192.0.2.2 1024 143\r\n",
		balancer.AddressProxy2: "\r\n\r\n\x00\r\nQUIT\n\x21\x11",
	} {
		got := make(chan string, 1)
		r := newRig(t, one(t, func(c *balancertest.Conn) {
			buf := make([]byte, 512)
			n, _ := c.Read(buf)
			got <- string(buf[:n])
			c.Hang()
		}), func(r *rig, o *balancer.Options) {
			behindProxy(r, o)
			o.Pools[0].Backends[0].Address = form
			o.Limits.BackendLoginTime, o.Limits.DialTries = 100*time.Millisecond, 1
		})
		c := r.dial("imap")
		c.say(headerV2 + "a LOGIN joe secret\r\n")
		c.expect("* OK")
		c.expect("a NO [UNAVAILABLE]")
		if h := <-got; !strings.HasPrefix(h, want) || strings.Contains(h, "LOGIN") {
			t.Errorf("the back end got %q, want it to begin with %q", h, want)
		}
	}
}

// A proxy that has taken TLS off says so, and its word is believed: logins
// are allowed though the connection to us is plaintext.
func TestTLSBeforeTheProxyCounts(t *testing.T) {
	r := newRig(t, one(t, balancertest.IMAP("store0")), func(r *rig, o *balancer.Options) {
		behindProxy(r, o)
		o.Listeners[0].PlaintextLogin = false
	})
	plain := r.dial("imap")
	plain.say(headerV2 + "a LOGIN joe secret\r\n")
	plain.expect("* OK", "LOGINDISABLED")
	plain.expect("a NO [PRIVACYREQUIRED]")
	c := r.dial("imap")
	c.say("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x1b\xc0\x00\x02\x07\xc0\x00\x02\x02\x04\x00\x00\x8f" + "\x20\x00\x0c\x01\x00\x00\x00\x00\x21\x00\x04TLSx" + "a LOGIN joe secret\r\n")
	if line := c.expect("* OK"); strings.Contains(line, "LOGINDISABLED") || strings.Contains(line, "STARTTLS") {
		t.Errorf("greeting %q", line)
	}
	c.expect("a OK")
}

// Plaintext logins are for listed networks only.
func TestPlaintextNetworks(t *testing.T) {
	for network, allowed := range map[string]bool{"127.0.0.0/8": true, "192.0.2.0/24": false} {
		r := newRig(t, one(t, balancertest.IMAP("store0")), func(_ *rig, o *balancer.Options) {
			o.Listeners[0].PlaintextLogin = false
			o.Listeners[0].PlaintextNetworks = []netip.Prefix{netip.MustParsePrefix(network)}
		})
		c := r.dial("imap")
		if line := c.expect("* OK"); strings.Contains(line, "LOGINDISABLED") == allowed {
			t.Errorf("from %s: %q", network, line)
		}
		c.say("a LOGIN joe secret\r\n")
		if allowed {
			c.expect("a OK")
		} else {
			c.expect("a NO [PRIVACYREQUIRED]")
		}
	}
}

// Webmail says by ID whom it speaks for; from others that is dropped.
func TestClientsAddressByID(t *testing.T) {
	for network, want := range map[string]string{"127.0.0.0/8": "192.0.2.7:1024", "192.0.2.0/24": "127.0.0.1:"} {
		r := newRig(t, one(t, balancertest.IMAP("store0")), func(_ *rig, o *balancer.Options) {
			o.Listeners[0].TrustedNetworks = []netip.Prefix{netip.MustParsePrefix(network)}
		})
		c := r.dial("imap")
		c.expect("* OK")
		c.say(`i ID ("x-originating-ip" "192.0.2.7" "x-originating-port" "1024")` + "\r\na LOGIN joe secret\r\n")
		c.expect("* ID")
		c.expect("i OK")
		c.expect("a OK")
		if infos := r.server.Sessions("joe"); len(infos) != 1 || !strings.HasPrefix(infos[0].Client, want) {
			t.Errorf("trusting %s: %+v, want the client %s", network, infos, want)
		}
	}
}

// Keepalive is on on both sides: mobile clients vanish without FIN.
func TestKeepAliveIsOn(t *testing.T) {
	accepted := make(chan net.Conn, 1)
	r := newRig(t, one(t, func(c *balancertest.Conn) { accepted <- c; c.Hang() }), nil)
	c := r.dial("imap")
	c.expect("* OK")
	c.say("a LOGIN joe secret\r\n")
	<-accepted
	timers := keepAliveTimers(t, []int{
		c.RemoteAddr().(*net.TCPAddr).Port, r.options.Pools[0].Backends[0].Ports["imap"],
	})
	if timers < 2 {
		t.Errorf("%d of our sockets have a keepalive timer, want both", timers)
	}
}
