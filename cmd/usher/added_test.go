package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

// based is a configuration with one pool of one back end, and its wiring.
func based(t *testing.T) (*config.Config, *wiring) {
	t.Helper()
	c, err := config.Parse("usher.toml", []byte(`
[[listener]]
name = "imap"
protocol = "imap"
address = "127.0.0.1:0"
tls = "none"
plaintext_login = true
[[pool]]
name = "main"
storage = "shared"
[[pool.backend]]
name = "mail1"
host = "192.0.2.1"
imap_port = 143
`))
	if err != nil {
		t.Fatal(err)
	}
	w, err := translate(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, w
}

func defined(d config.Definition) cluster.Reading {
	return cluster.Reading{Values: map[string][]byte{d.Key(): d.Format()}}
}

// What is not live can be reached and is nobody's place; what the file has comes before
// what the fleet has; what cannot be used takes nothing else with it.
func TestLay(t *testing.T) {
	c, w := based(t)
	d := config.Definition{Addition: config.Addition{Pool: "main", Name: "mail2", Host: "192.0.2.2", IMAPPort: 143}}
	for _, live := range []bool{false, true} {
		d.Live = live
		o := lay(w, c, defined(d))
		want := cluster.Backend{Name: "mail2", Address: "192.0.2.2 imap=143 pop3=0", Weight: 100, Pending: !live}
		if got := o.places[0].Backends; len(got) != 2 || got[1] != want {
			t.Errorf("live %v: %+v, want %+v", live, got, want)
		}
		if len(o.balancer.Pools[0].Backends) != 2 || len(o.checks) != 2 || o.checks[1].backend != "mail2" || o.checks[1].options.Interval != w.checks[0].options.Interval {
			t.Errorf("it cannot be reached, or is not examined: %+v", o.wiring)
		}
		if o.taken[d.Key()] != string(d.Format()) {
			t.Errorf("taken: %v", o.taken)
		}
	}
	if len(w.places[0].Backends) != 1 || len(w.balancer.Pools[0].Backends) != 1 || len(w.checks) != 1 {
		t.Error("the wiring of the file has changed")
	}
	reading := defined(d)
	values := reading.Values
	file := d
	file.Name, file.Host = "mail1", "192.0.2.9"
	values[file.Key()] = file.Format()
	values["backends/main/bad"] = []byte("{")
	twin := d
	twin.Name = "twin" // of mail2
	values[twin.Key()] = twin.Format()
	reading.Unopened = map[string]error{"backends/main/sealed": errors.New("sealed")}
	o := lay(w, c, reading)
	if len(o.places[0].Backends) != 2 || !strings.HasPrefix(o.places[0].Backends[0].Address, "192.0.2.1 ") || !o.shadowed[file.Key()] {
		t.Errorf("places: %+v", o.places)
	}
	if got := fmt.Sprint(sorted(o.problems)); got != "[backends/main/bad backends/main/sealed backends/main/twin]" {
		t.Errorf("problems: %v", o.problems)
	}
}

// What the file has otherwise than it was added is said: users move.
func TestLayDiffers(t *testing.T) {
	c, w := based(t)
	weight := 50
	for _, tt := range []struct {
		a    config.Addition
		want string
	}{
		{config.Addition{Host: "192.0.2.1", IMAPPort: 143}, ""},
		{config.Addition{Host: "192.0.2.9", IMAPPort: 143}, `at "192.0.2.1 imap=143 pop3=0", and it was added at "192.0.2.9 imap=143 pop3=0"`},
		{config.Addition{Host: "192.0.2.1", IMAPPort: 1143}, "imap=1143"},
		{config.Addition{Host: "192.0.2.1", IMAPPort: 143, POP3Port: 110}, "pop3=110"},
		{config.Addition{Host: "192.0.2.1", IMAPPort: 143, Weight: &weight}, "weight 100, and it was added with 50"},
	} {
		tt.a.Pool, tt.a.Name = "main", "mail1"
		d := config.Definition{Addition: tt.a, Live: true}
		o := lay(w, c, defined(d))
		if got := o.differ[d.Key()]; !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%+v: %q, want %q", tt.a, got, tt.want)
		}
	}
}

// The fleet goes on with what cannot be used here: see cluster.Pool.Keep.
func TestLayKeeps(t *testing.T) {
	c, w := based(t)
	o := lay(w, c, cluster.Reading{
		Values:   map[string][]byte{"backends/main/newer": []byte(`{"pool":"main","name":"newer","host":"h","live":true,"of":"tomorrow"}`)},
		Unopened: map[string]error{"backends/main/sealed": errors.New("sealed"), "backends/none/lost": errors.New("sealed")},
	})
	if got := fmt.Sprint(o.places[0].Keep); got != "[newer sealed]" || len(w.places[0].Keep) != 0 {
		t.Errorf("kept: %s, and by the file %v", got, w.places[0].Keep)
	}
}

// A peer may store any number; a fleet uses so many.
func TestLayBound(t *testing.T) {
	c, w := based(t)
	values := map[string][]byte{}
	for i := range config.MaxDefinitions + 3 {
		d := config.Definition{Addition: config.Addition{Pool: "main", Name: fmt.Sprintf("m%04d", i), Host: fmt.Sprintf("m%d.example.org", i), IMAPPort: 143}, Live: true}
		values[d.Key()] = d.Format()
	}
	o := lay(w, c, cluster.Reading{Values: values})
	if len(o.taken) != config.MaxDefinitions || len(o.problems) != 3 || len(o.checks) != 1+config.MaxDefinitions {
		t.Errorf("%d are in use, %d are not, %d are examined", len(o.taken), len(o.problems), len(o.checks))
	}
}
