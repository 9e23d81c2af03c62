package config

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fleet is small with a [fleet] before it, which is complete but for what is
// replaced: pairs of a line and what stands for it.
func fleet(edits ...string) string {
	text := `[fleet]
name = "mail"
node = "u1"
secret_file = "/fleet.secret"
bind = "192.0.2.1"
join = ["u2", "192.0.2.3:7000", "2001:db8::1"]
voters = ["u1", "u2", "u3"]
`
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			panic("no line: " + edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	return text + small
}

func TestFleetRules(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"nothing wrong", fleet(), nil},
		{"alone, with a path for later", "[fleet]\nstate_dir = \"/srv/usher\"\n" + small, nil},
		{"no name", fleet("name = \"mail\"\n", ""), []string{
			"3:1: secret_file has no meaning without fleet.name",
			"5:1: join has no meaning without fleet.name",
			"6:1: voters has no meaning without fleet.name",
		}},
		{"all at once", "[fleet]\nname = \"mail\"\nwhen_isolated = \"refuse\"\nretention = \"2s\"\nkick_delay = \"3s\"\n" + small, []string{
			"1:2: secret_file is missing: a fleet needs one, and usher fleet secret makes it",
			"1:2: bind: :7946 is every address of the host: say in advertise at which of them other nodes find this one",
			"1:2: voters is missing: want the names of 1, 3 or 5 nodes",
			"4:1: retention: retention, 2s, is less than kick_delay, 3s",
		}},
		{"a node that cannot refuse", "data_path = \"copy\"\n" + fleet("name =", "when_isolated = \"refuse\"\nname ="), []string{
			`3:1: when_isolated = "refuse" needs another data_path than "copy": a node that must refuse has to be able to stop what it forwards`,
		}},
		{"copy and serve", "data_path = \"copy\"\n" + fleet(), nil},
		{"delay above the default", fleet("node =", "kick_delay = \"1m\"\nretention = \"1m\"\nnode ="), nil},
		{"no delay", fleet("node =", "kick_delay = \"0s\"\nnode ="), nil},
		{"typo", fleet("node =", "when_isolated = \"serv\"\nvoter = []\nnode ="), []string{
			`3:1: when_isolated: want one of "serve" or "refuse", got "serv"; did you mean "serve"?`,
			`4:1: unknown key "voter"; did you mean "voters"?`,
		}},
		{"two voters", fleet(`, "u3"]`, `]`), []string{
			"7:1: voters: 2 of them, want 1, 3 or 5: an even number bears no more losses than the odd one below it",
		}},
		{"the same voter", fleet(`"u3"]`, `"u2"]`), []string{`7:23: voters: "u2" is there twice`}},
		{"names", fleet(`node = "u1"`, `node = "u 1"`, `"u3"]`, `"u/3"]`), []string{
			`3:1: node: want a name of at most 64 letters, digits, ".", "-" and "_", got "u 1"`,
			`7:23: voters: want a name of at most 64 letters, digits, ".", "-" and "_", got "u/3"`,
		}},
		{"peers", fleet(`"192.0.2.1"`, `"192.0.2.1:0"`, `"u2", `, `"u2:imap", `), []string{
			`5:1: bind: want a host name or an address, with or without a port, such as "usher2.example.org", "192.0.2.1:7946" or "[2001:db8::1]:7946", got "192.0.2.1:0"`,
			`6:9: join: want a host name or an address, with or without a port, such as "usher2.example.org", "192.0.2.1:7946" or "[2001:db8::1]:7946", got "u2:imap"`,
		}},
		{"nobody finds it", fleet("bind =", "advertise = \"[::]:7946\"\nbind ="), []string{
			"5:1: advertise: [::]:7946 is no address that other nodes could connect to",
		}},
		{"a program", fleet("node =", "flush = [\"/usr/bin/doveadm\", \"-v\"]\nnode ="), nil},
		{"a program somewhere", fleet("node =", "flush = [\"doveadm\"]\nnode ="), []string{
			`3:1: flush: "doveadm" is no path from the root: want the program, and each argument by itself, as in ["/usr/local/sbin/flush-user", "--quick"]`,
		}},
		{"every address", fleet(`"192.0.2.1"`, `":7946"`, "node =", "advertise = \"192.0.2.1\"\nnode ="), nil},
	} {
		t.Run(tt.name, func(t *testing.T) { check(t, tt.text, tt.want...) })
	}
}

// Who uses the addresses need not know the default port.
func TestFleetPorts(t *testing.T) {
	c := mustParse(t, fleet("bind =", "advertise = \"usher1.example.org\"\nbind ="))
	f := c.Fleet
	if f.Bind != "192.0.2.1:7946" || f.Advertise != "usher1.example.org:7946" {
		t.Errorf("got bind %q, advertise %q", f.Bind, f.Advertise)
	}
	if want := []string{"u2:7946", "192.0.2.3:7000", "[2001:db8::1]:7946"}; !reflect.DeepEqual(f.Join, want) {
		t.Errorf("join: got %q, want %q", f.Join, want)
	}
	c = mustParse(t, fleet(`"192.0.2.1"`, `"192.0.2.1:7000"`))
	if f = c.Fleet; f.Advertise != "" || f.Join[0] != "u2:7000" {
		t.Errorf("port of bind: got advertise %q, join %q", f.Advertise, f.Join)
	}
	if again := mustParse(t, c.Dump()); !reflect.DeepEqual(again.Fleet, f) {
		t.Errorf("dump: got %+v, want %+v", again.Fleet, f)
	}
}

func TestFleetNeedsRestart(t *testing.T) {
	old := mustParse(t, fleet())
	later := mustParse(t, fleet(`"u2", "192.0.2.3:7000", `, "", `"u3"]`, `"u4"]`))
	if got, want := strings.Join(NeedsRestart(old, later), " "), "fleet.join fleet.voters"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWitness(t *testing.T) {
	lines, _, _ := strings.Cut(fleet(), "[[certificate]]")
	for _, tt := range []struct {
		name, text, want string
	}{
		{"votes", lines, ""},
		{"the file of a node that serves", fleet(), ""},
		{"no fleet", "hostname = \"x\"\n", "usher.toml:1:1: name is missing: a witness votes in a fleet, [fleet] says in which"},
		{"does not vote", strings.Replace(lines, `"u1"`, `"w3"`, 1), `usher.toml:3:1: node: a witness only votes, and "w3" is not among voters`},
		{"is misspelt", strings.Replace(strings.Replace(lines, `"u1"`, `"witnes"`, 1), `"u3"`, `"witness"`, 1), `usher.toml:3:1: node: a witness only votes, and "witnes" is not among voters; did you mean "witness"?`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if _, err := ParseWitness("usher.toml", []byte(tt.text)); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := Parse("usher.toml", []byte(lines)); err == nil {
		t.Error("a node that serves needs listeners and pools")
	}
}

func TestCheckFleet(t *testing.T) {
	s := newSite(t)
	text := func(edits ...string) string {
		lines, _, _ := strings.Cut(fleet(edits...), "[[certificate]]")
		return lines + clean
	}
	if got := s.run(t, text(), quiet()); len(got) > 0 {
		t.Errorf("got %q, want nothing", got)
	}
	m := quiet()
	m.mayBind = func(port int) bool { return port != 46 }
	got := s.run(t, text(`"192.0.2.1"`, `"192.0.2.1:46"`, `node = "u1"`, `node = "u11"`, `"u2", "192.0.2.3:7000", "2001:db8::1"`, ""), m)
	want := []string{
		`3:1: warning: node: "u11" is no voter; did you mean "u1"?`,
		`5:1: warning: bind: port 46 is privileged, and this process lacks CAP_NET_BIND_SERVICE`,
		`6:1: warning: join is empty: other nodes have to find this one`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// Names that do not resolve are warned about, all at once and within the time of one.
func TestCheckFleetNames(t *testing.T) {
	s := newSite(t)
	lines, _, _ := strings.Cut(fleet(`"192.0.2.1"`, `"192.0.2.1"
advertise = "u1.example.org"`, `node = "u1"
`, "", `"u1", "u2", "u3"`, `"u1.example.org", "u2", "u3"`, `"u2", "192`, `"u2", "slow", "192`), "[[certificate]]")
	synctest.Test(t, func(t *testing.T) {
		m := quiet()
		m.resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			switch host {
			case "slow":
				<-ctx.Done()
				return nil, ctx.Err()
			case "u1.example.org", "u2":
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			return nil, nil
		}
		begin := time.Now()
		got := s.run(t, lines+clean, m)
		if took := time.Since(begin); took > resolveTime {
			t.Errorf("it took %v, want at most %v", took, resolveTime)
		}
		want := []string{
			`5:1: warning: advertise: "u1.example.org" does not exist; usher cannot start before it does`,
			`6:9: warning: join: "u2" does not exist; nobody is found by it until it does`,
			`6:15: warning: join: look up "slow": context deadline exceeded; nobody is found by it until it does`,
			`7:1: warning: voters: this node is called "u1", after its host, which is not the name "u1.example.org": set node to the one that is meant`,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	})
}

func TestAt(t *testing.T) {
	c := mustParse(t, fleet())
	if got, want := c.At("fleet.secret_file", errors.New("no")).String(), "usher.toml:4:1: secret_file: no"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
