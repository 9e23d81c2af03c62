package dovecot_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

func clientTLS(srv *dovecot.Server, certs ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: srv.Authority.Pool, ServerName: srv.Address.String(), Certificates: certs}
}

func TestMechanisms(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{
		Masters:  map[string]string{"boss": "master-secret"},
		Tokens:   map[string]string{"t0ken": "ann"},
		External: true,
	})
	anonymous, eva := clientTLS(srv), clientTLS(srv, srv.Authority.Client(t, "eva"))
	for _, tt := range []struct {
		name, user string
		mech       func() mechanism // an exchange is good for one login
	}{
		{"PLAIN", "joe", func() mechanism { return plain("", "joe", "secret") }},
		{"LOGIN", "joe", func() mechanism { return login("joe", "secret") }},
		{"SCRAM-SHA-1", "joe", func() mechanism { return scramSHA1("joe", "secret") }},
		{"SCRAM-SHA-256", "joe", func() mechanism { return scramSHA256("joe", "secret") }},
		{"XOAUTH2", "ann", func() mechanism { return xoauth2("ann", "t0ken") }},
		{"OAUTHBEARER", "ann", func() mechanism { return oauthbearer("ann", "t0ken") }},
		{"EXTERNAL", "eva", func() mechanism { return external("") }},
		{"master by separator", "joe", func() mechanism { return plain("", "joe*boss", "master-secret") }},
		{"master by authzid", "joe", func() mechanism { return plain("joe", "boss", "master-secret") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := anonymous
			if tt.user == "eva" {
				config = eva
			}
			t.Run("imap", func(t *testing.T) {
				c := dial(t, srv.IMAPS, "", config)
				if got := c.authenticate("a AUTHENTICATE", tt.mech()); !strings.HasPrefix(got, "a OK") {
					t.Fatalf("got %q, want a OK", got)
				}
				c.send("b SELECT INBOX")
				if got := c.until("b "); !strings.HasPrefix(got, "b OK") {
					t.Errorf("select: got %q, want b OK", got)
				}
			})
			t.Run("pop3", func(t *testing.T) {
				c := dial(t, srv.POP3S, "", config)
				if got := c.authenticate("AUTH", tt.mech()); !strings.HasPrefix(got, "+OK") {
					t.Fatalf("got %q, want +OK", got)
				}
				c.send("STAT")
				if got := c.line(); !strings.HasPrefix(got, "+OK") {
					t.Errorf("STAT: got %q, want +OK", got)
				}
			})
			method := "method=" + strings.Fields(tt.mech().name)[0]
			srv.WaitLog(t, `imap-login: Info: Login: user=<`+tt.user+`>, `+method)
			srv.WaitLog(t, `pop3-login: Info: Login: user=<`+tt.user+`>, `+method)
		})
	}
}

func TestRefusals(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{
		Users:  map[string]string{"joe": "hers"},
		Tokens: map[string]string{"t0ken": "ann"},
	})
	for _, mech := range []mechanism{
		plain("", "joe", "secret"),
		plain("", "nobody-of-that-name", "hers"),
		login("joe", "his"),
		scramSHA256("joe", "his"),
		xoauth2("ann", "forged"),
		oauthbearer("ann", "forged"),
		plain("joe", "boss", "hers"),
	} {
		t.Run(mech.name, func(t *testing.T) {
			c := dial(t, srv.IMAP, "", nil)
			if got := c.authenticate("a AUTHENTICATE", mech); !strings.HasPrefix(got, "a NO") {
				t.Errorf("got %q, want a NO", got)
			}
		})
	}
	c := dial(t, srv.POP3, "", nil)
	c.send("USER joe")
	c.until("+OK")
	c.send("PASS hers")
	if got := c.line(); !strings.HasPrefix(got, "+OK") {
		t.Errorf("right password: got %q, want +OK", got)
	}
}

func TestRequireTLS(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{RequireTLS: true, HostNames: []string{"mail.example.org"}})
	config := clientTLS(srv)
	config.ServerName = "mail.example.org"

	c := dial(t, srv.IMAP, "", nil)
	c.send("a LOGIN joe secret")
	if got := c.until("a "); !strings.HasPrefix(got, "a NO [PRIVACYREQUIRED]") {
		t.Errorf("before TLS: got %q, want a NO [PRIVACYREQUIRED]", got)
	}
	c.startTLS("b STARTTLS", "b OK", config)
	c.send("c LOGIN joe secret")
	if got := c.until("c "); !strings.HasPrefix(got, "c OK") {
		t.Errorf("after TLS: got %q, want c OK", got)
	}

	c = dial(t, srv.POP3, "", nil)
	c.startTLS("STLS", "+OK", config)
	c.send("USER joe")
	c.until("+OK")
	c.send("PASS secret")
	if got := c.line(); !strings.HasPrefix(got, "+OK") {
		t.Errorf("after TLS: got %q, want +OK", got)
	}
	srv.WaitLog(t, "pop3-login.*TLS")
}

func TestProxyHeader(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{})
	stranger := dovecot.Start(t, dovecot.Options{ProxyNetworks: "127.9.9.9/32"})

	v1 := "PROXY TCP4 203.0.113.7 198.51.100.1 40000 143\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xcb\x00\x71\x08" + "\xc6\x33\x64\x01" + "\x9c\x40" + "\x00\x8f"
	for _, tt := range []struct {
		name, addr, header, rip string
		config                  *tls.Config
	}{
		{"v1 imap", srv.ProxyIMAP, v1, "203.0.113.7", nil},
		{"v2 imap", srv.ProxyIMAP, v2, "203.0.113.8", nil},
		{"v2 imaps", srv.ProxyIMAPS, v2, "203.0.113.8", clientTLS(srv)},
		{"v2 pop3", srv.ProxyPOP3, v2, "203.0.113.8", nil},
		{"v2 pop3s", srv.ProxyPOP3S, v2, "203.0.113.8", clientTLS(srv)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			user := strings.ReplaceAll(tt.name, " ", "-")
			c := dial(t, tt.addr, tt.header, tt.config)
			if strings.Contains(tt.name, "imap") {
				c.send("a LOGIN %s secret", user)
				c.until("a OK")
			} else {
				c.send("USER %s", user)
				c.until("+OK")
				c.send("PASS secret")
				c.until("+OK")
			}
			if line := srv.WaitLog(t, `Login: user=<`+user+`>`); !strings.Contains(line, "rip="+tt.rip+", lip=198.51.100.1") {
				t.Errorf("log: %q, want rip=%s, lip=198.51.100.1", line, tt.rip)
			}
		})
	}

	t.Run("not from a listed network", func(t *testing.T) {
		stranger.WaitLog(t, "starting up")
		c := &client{t: t}
		c.Conn = dialRaw(t, stranger.ProxyIMAP)
		c.send("%s", strings.TrimSuffix(v1, "\r\n"))
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("got %d octets, want the connection closed", n)
		}
		stranger.WaitLog(t, "not trusted")
	})
}

func TestTrustedNetworks(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{TrustedNetworks: "127.0.0.0/8"})
	c := dial(t, srv.IMAP, "", nil)
	c.send(`a ID ("x-originating-ip" "203.0.113.9" "x-originating-port" "4711")`)
	c.until("a OK")
	c.send("b LOGIN joe secret")
	c.until("b OK")
	srv.WaitLog(t, `imap-login: Info: Login: user=<joe>.*rip=203\.0\.113\.9`)

	c = dial(t, srv.POP3, "", nil)
	c.send("XCLIENT ADDR=203.0.113.10 PORT=4711")
	c.until("+OK")
	c.send("USER joe")
	c.until("+OK")
	c.send("PASS secret")
	c.until("+OK")
	srv.WaitLog(t, `pop3-login: Info: Login: user=<joe>.*rip=203\.0\.113\.10`)
}

func TestStorage(t *testing.T) {
	shared := dovecot.NewStorage(t)
	one := dovecot.Start(t, dovecot.Options{Name: "one", Storage: shared})
	two := dovecot.Start(t, dovecot.Options{Name: "two", Storage: shared})
	alone := dovecot.Start(t, dovecot.Options{Name: "alone"})
	message := []byte("Subject: hello\r\n\r\nbody\r\n")
	shared.Deliver(t, "Joe", "", message)
	shared.Deliver(t, "joe", "Sub.Box", message)
	for _, tt := range []struct {
		srv            *dovecot.Server
		mailbox, count string
	}{
		{one, "INBOX", "1"},
		{two, "INBOX", "1"},
		{two, "Sub.Box", "1"},
		{alone, "INBOX", "0"},
	} {
		c := dial(t, tt.srv.IMAP, "", nil)
		c.send("a LOGIN joe secret")
		c.until("a OK")
		c.send("b STATUS %s (MESSAGES)", tt.mailbox)
		if got, want := c.line(), "* STATUS "+tt.mailbox+" (MESSAGES "+tt.count+")"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := shared.Messages(t, "joe", ""); got != 1 {
		t.Errorf("messages counted: got %d, want 1", got)
	}
	if got := alone.Messages(t, "joe", "nowhere"); got != 0 {
		t.Errorf("messages counted in a mailbox that is not there: got %d, want 0", got)
	}
}

func TestDeliveryWakesIdle(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{})
	c := dial(t, srv.IMAP, "", nil)
	c.send("a LOGIN joe secret")
	c.until("a OK")
	c.send("b SELECT INBOX")
	c.until("b OK")
	c.send("c IDLE")
	c.until("+ ")
	srv.Deliver(t, "joe", "INBOX", []byte("Subject: wake up\n\n"))
	c.until("* 1 EXISTS")
}

func TestFailureDelay(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{FailureDelay: 1500 * time.Millisecond})
	c := dial(t, srv.IMAP, "", nil)
	start := time.Now()
	c.send("a LOGIN joe wrong")
	c.until("a NO")
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("refusal took %v, want nearly two seconds", took)
	}
}

func TestManySessions(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{})
	const sessions = 300
	for i := range sessions {
		c := dial(t, srv.IMAP, "", nil)
		c.send("a LOGIN user%d secret", i)
		c.until("a OK")
	}
	srv.WaitLogN(t, "imap-login: Info: Login:", sessions)
	if got := strings.Count(srv.Doveadm(t, "who"), "imap"); got < sessions {
		t.Errorf("doveadm who: %d sessions, want %d", got, sessions)
	}
	for _, line := range srv.Logged("Warning|Error|Fatal|Panic") {
		t.Errorf("log: %s", line)
	}
}

func TestRequireClientCertificate(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{RequireClientCertificate: true})
	c := dial(t, srv.IMAPS, "", clientTLS(srv, srv.Authority.Client(t, "usher")))
	if got := c.authenticate("a AUTHENTICATE", plain("", "joe", "secret")); !strings.HasPrefix(got, "a OK") {
		t.Errorf("with a certificate: got %q, want a OK", got)
	}
	srv.WaitLog(t, "Login: user=<joe>")
	c = dial(t, srv.IMAPS, "", clientTLS(srv))
	if got := c.authenticate("a AUTHENTICATE", plain("", "joe", "secret")); strings.HasPrefix(got, "a OK") {
		t.Errorf("without a certificate: got %q, want a refusal", got)
	}
}

func TestManyLogins(t *testing.T) {
	srv := dovecot.Start(t, dovecot.Options{})
	const logins = 1000
	for i := range logins {
		c := dial(t, srv.IMAP, "", nil)
		c.send("a LOGIN user%d secret", i%10)
		c.until("a OK")
		c.send("b LOGOUT")
		c.until("b OK")
		c.Close()
	}
	srv.WaitLogN(t, "imap-login: Info: Login:", logins)
}
