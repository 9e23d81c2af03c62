package imap_test

import (
	"io"
	"log"
	"net"
	"strings"
	"testing"

	imap2 "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"

	"usher.example/sniff"
	"usher.example/sniff/imap"
)

// TestFrontClient lets a client of another house log in at a front.
func TestFrontClient(t *testing.T) {
	for _, tt := range []struct {
		name string
		mech sniff.Mechanism
		do   func(c *imapclient.Client, password string) error
	}{
		{"LOGIN", sniff.Command, func(c *imapclient.Client, password string) error {
			return c.Login(`jo"e`, password).Wait()
		}},
		{"PLAIN", sniff.Plain, func(c *imapclient.Client, password string) error {
			return c.Authenticate(sasl.NewPlainClient("", `jo"e`, password))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			here, there := net.Pipe()
			defer func() { _ = here.Close() }()
			logins := make(chan *sniff.Login, 2)
			done := make(chan error, 1)
			go func() { done <- serveFront(here, logins) }()

			c := imapclient.New(there, nil)
			defer func() { _ = c.Close() }()
			if err := tt.do(c, "wrong"); err == nil || !strings.Contains(err.Error(), "AUTHENTICATIONFAILED") {
				t.Errorf("wrong password: got %v", err)
			}
			if err := tt.do(c, "s\u00e9cret\\"); err != nil {
				t.Errorf("right password: %v", err)
			}
			if !c.Caps().Has(imap2.CapIdle) {
				t.Errorf("capabilities after login: %v", c.Caps())
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			for _, password := range []string{"wrong", "s\u00e9cret\\"} {
				if l := <-logins; l.User != `jo"e` || string(l.Password) != password || l.Mechanism != tt.mech {
					t.Errorf("got %s %q %q", l.Mechanism, l.User, []byte(l.Password))
				}
			}
		})
	}
}

// serveFront refuses the first login and accepts the second.
func serveFront(rw io.ReadWriter, logins chan<- *sniff.Login) error {
	front := imap.Protocol{}.Front(frontOptions())
	d := sniff.NewDriver(front)
	for i := range 2 {
		ev, err := d.Drive(rw)
		if err != nil {
			return err
		}
		logins <- ev.Login
		d.Queue(func(dst []byte) []byte {
			if i == 0 {
				return front.Refuse(dst, sniff.Refusal{Code: sniff.AuthFailed})
			}
			return front.Accept(dst, &sniff.Acceptance{Capabilities: []string{"IMAP4rev1", "IDLE"}})
		})
	}
	return d.Flush(rw)
}

// TestBackServer logs in at a server of another house, and probes it.
func TestBackServer(t *testing.T) {
	users := imapmemserver.New()
	joe := imapmemserver.NewUser("joe", "s\u00e9cret")
	if err := joe.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	users.AddUser(joe)
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return users.NewSession(), nil, nil
		},
		InsecureAuth: true,
		Logger:       log.New(io.Discard, "", 0),
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln)
	}()
	defer func() {
		_ = server.Close()
		<-served
	}()

	for _, tt := range []struct {
		name string
		o    sniff.BackOptions
		kind sniff.Kind
		code sniff.Code
	}{
		{"login", sniff.BackOptions{Login: loginOf("joe", "s\u00e9cret")}, sniff.Accepted, 0},
		{"LOGIN with a literal", sniff.BackOptions{
			Login: loginOf("joe", "s\u00e9cret"), Capabilities: []string{"IMAP4rev1"},
		}, sniff.Accepted, 0},
		{"wrong password", sniff.BackOptions{Login: loginOf("joe", "x")}, sniff.Refused, sniff.AuthFailed},
		{"probe of the greeting", sniff.BackOptions{Probe: sniff.ProbeGreeting}, sniff.Accepted, 0},
		{"probe with a login", sniff.BackOptions{Probe: sniff.ProbeLogin, Login: loginOf("joe", "s\u00e9cret")}, sniff.Accepted, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			ev, err := sniff.NewDriver(imap.Protocol{}.Back(tt.o)).Drive(conn)
			if ev.Kind != tt.kind || err != nil {
				t.Fatalf("got %v, %v", ev.Kind, err)
			}
			if ev.Refusal != nil && ev.Refusal.Code != tt.code {
				t.Errorf("got %v, want %v", ev.Refusal.Code, tt.code)
			}
			if ev.Accepted != nil && len(ev.Accepted.Capabilities) == 0 {
				t.Error("no capabilities")
			}
		})
	}
}

func loginOf(user, password string) *sniff.Login {
	return &sniff.Login{Mechanism: sniff.Command, User: user, AuthID: user, Password: sniff.Secret(password)}
}
