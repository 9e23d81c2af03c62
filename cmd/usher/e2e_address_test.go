package main_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// TestClientAddress has the back end learn the client's address in each way that
// there is, over each kind of link.
func TestClientAddress(t *testing.T) {
	authority := dovecot.NewAuthority(t)
	srv := dovecot.Start(t, dovecot.Options{Authority: authority, TrustedNetworks: "127.0.0.0/8"})
	for i, tt := range []struct {
		form, tls  string
		imap, pop3 string
		known      bool // the back end gets it
	}{
		{"proxy2", "starttls", srv.ProxyIMAP, srv.ProxyPOP3, true},
		{"proxy2", "implicit", srv.ProxyIMAPS, srv.ProxyPOP3S, true},
		{"proxy2", "none", srv.ProxyIMAP, srv.ProxyPOP3, true},
		{"proxy1", "starttls", srv.ProxyIMAP, srv.ProxyPOP3, true},
		{"proxy1", "implicit", srv.ProxyIMAPS, srv.ProxyPOP3S, true},
		{"command", "starttls", srv.IMAP, srv.POP3, true},
		{"command", "implicit", srv.IMAPS, srv.POP3S, true},
		{"command", "none", srv.IMAP, srv.POP3, true},
		{"none", "starttls", srv.IMAP, srv.POP3, false},
	} {
		t.Run(tt.form+" "+tt.tls, func(t *testing.T) {
			s := newSite(t, "shared", srv)
			s.pools[0].more = fmt.Sprintf("tls = %q\nclient_address = %q\n", tt.tls, tt.form)
			if tt.tls != "none" {
				s.pools[0].more += fmt.Sprintf("tls_ca_file = %q\n", authority.File)
			}
			s.pools[0].backends[0].imap, s.pools[0].backends[0].pop3 = tt.imap, tt.pop3
			p := s.serve()
			for j, door := range doors {
				from, user := fmt.Sprintf("127.9.%d.%d", 30+i, 1+j), fmt.Sprintf("joe%d-%d", i, j)
				c := enter(t, s, door, entry{from: from})
				if got := c.login(user, "secret"); !good(got) {
					t.Errorf("%s: %s", door, got)
				}
				c.logout()
				line := srv.WaitLog(t, c.protocol+"-login: Info: Login: user=<"+user+">")
				if got := strings.Contains(line, "rip="+from+","); got != tt.known {
					t.Errorf("%s: Dovecot knows %s: %v, want %v: %s", door, from, got, tt.known, line)
				}
				if tt.form == "command" && c.imap() {
					ours := field(p.log.await(t, " msg=session .*user="+user+" ", 1)[0], "session")
					if !strings.Contains(line, ours) {
						t.Errorf("%s: Dovecot's log has another session than %s: %s", door, ours, line)
					}
				}
			}
		})
	}
}

// proxyHeader is what a balancer in front sends, of version 1 or 2, for a client
// of 203.0.113.7.
func proxyHeader(version int) string {
	if version == 1 {
		return "PROXY TCP4 203.0.113.7 198.51.100.1 40000 143\r\n"
	}
	src, dst := netip.MustParseAddr("203.0.113.7").As4(), netip.MustParseAddr("198.51.100.1").As4()
	return "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + string(src[:]) + string(dst[:]) + "\x9c\x40\x00\x8f"
}

// TestProxyFromListedNetworks wants PROXY headers to be believed, and needed,
// from listed networks, and to be worth nothing from others.
func TestProxyFromListedNetworks(t *testing.T) {
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	for i := range s.listeners {
		s.listeners[i].more = "proxy_networks = [\"127.9.1.0/24\"]\n"
	}
	p := s.serve()
	for _, version := range []int{1, 2} {
		for _, door := range doors {
			t.Run(fmt.Sprintf("v%d %s", version, door), func(t *testing.T) {
				header := proxyHeader(version)
				user := fmt.Sprintf("joe-v%d-%s", version, door)

				c := enter(t, s, door, entry{from: "127.9.1.7", header: header})
				if got := c.login(user, "secret"); !good(got) {
					t.Errorf("from a listed network: %s", got)
				}
				c.logout()
				line := p.log.await(t, " msg=session .*user="+user+" ", 1)[0]
				if got := field(line, "client"); got != "203.0.113.7:40000" {
					t.Errorf("client %s, want that of the header: %s", got, line)
				}
				srv := one
				if field(line, "backend") == "mail2" {
					srv = two
				}
				srv.WaitLog(t, "Login: user=<"+user+`>.*, rip=203\.0\.113\.7, lip=198\.51\.100\.1,`)

				c = s.enter(door, entry{from: "127.9.2.7", header: header})
				if c.err == nil {
					t.Errorf("a header from another network: the client is let in, and could log in")
				}
				c.Close()
				if got := p.log.lines(" msg=session .*client=203.0.113.7.* user=\"\""); len(got) > 0 {
					t.Errorf("a header from another network was believed: %s", got[0])
				}
			})
		}
	}
	t.Run("no header from a listed network", func(t *testing.T) {
		n := len(p.log.lines("failure=proxy_header"))
		together(doors, func(door string) {
			c := s.enter(door, entry{from: "127.9.1.8"})
			if c.err == nil {
				t.Errorf("%s: the client is let in", door)
			}
			c.Close()
		})
		if got := len(p.log.await(t, "failure=proxy_header", n+len(doors))) - n; got != len(doors) {
			t.Errorf("%d sessions without header in the log, want %d", got, len(doors))
		}
	})
	t.Run("no header from another network", func(t *testing.T) {
		for _, door := range doors {
			c := enter(t, s, door, entry{from: "127.9.2.8"})
			if got := c.login("joe", "secret"); !good(got) {
				t.Errorf("%s: %s", door, got)
			}
			c.logout()
		}
	})
}
