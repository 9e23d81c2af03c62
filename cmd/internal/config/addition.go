package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
)

// An Addition is a back end that was added by command while usher ran: what a
// [[pool.backend]] may say about where the server is and how much it takes. All that says
// whom to trust and how (TLS, certificates, the client's address) is the pool's, from the
// file, so that no order can weaken it, and no secret is in one.
type Addition struct {
	Pool     string `json:"pool"`
	Name     string `json:"name"`
	Host     string `json:"host"`
	IMAPPort int    `json:"imap_port,omitempty"`
	POP3Port int    `json:"pop3_port,omitempty"`
	// Weight nil is the default.
	Weight   *int   `json:"weight,omitempty"`
	Sessions int    `json:"sessions,omitempty"`
	TLSName  string `json:"tls_name,omitempty"`
}

// keys are what the file would say.
func (a Addition) keys() map[string]any {
	raw := map[string]any{"name": a.Name, "host": a.Host}
	for key, n := range map[string]int{"imap_port": a.IMAPPort, "pop3_port": a.POP3Port, "sessions": a.Sessions} {
		if n != 0 {
			raw[key] = int64(n)
		}
	}
	if a.Weight != nil {
		raw["weight"] = int64(*a.Weight)
	}
	if a.TLSName != "" {
		raw["tls_name"] = a.TLSName
	}
	return raw
}

// Same says whether two additions say the same.
func (a Addition) Same(b Addition) bool { return reflect.DeepEqual(a, b) }

// Backend finds a back end of a pool, nil if the configuration has none of that name.
func (c *Config) Backend(pool, name string) *Backend {
	for i := range c.Pools {
		if c.Pools[i].Name != pool {
			continue
		}
		for j := range c.Pools[i].Backends {
			if c.Pools[i].Backends[j].Name == name {
				return &c.Pools[i].Backends[j]
			}
		}
	}
	return nil
}

// With returns the configuration with one back end more, by the same rules as if the file
// had it. Like Parse it is pure; what is wrong is the error, a [Problems] whose places are
// those of the pool. The receiver stays as it is.
func (c *Config) With(a Addition) (*Config, error) {
	i := slices.IndexFunc(c.Pools, func(p Pool) bool { return p.Name == a.Pool })
	if i < 0 {
		return nil, fmt.Errorf("the configuration has no pool %q", a.Pool)
	}
	n := *c
	n.Pools = slices.Clone(c.Pools)
	p := &n.Pools[i]
	at := element("pool", i)
	path := element(join(at, "backend"), len(p.Backends))
	b := &binder{reporter: reporter{source: c.source}, bad: map[string]bool{}}
	if b.keys = maps.Clone(c.source.keys); b.keys == nil {
		b.keys = make(map[string]position) // the configuration is none of a file
	}
	raw := a.keys()
	for key := range raw {
		b.keys[join(path, key)] = b.position(at)
	}
	var be Backend
	b.table(path, raw, reflect.ValueOf(&be).Elem())
	b.inherit(path, &be.Link, p.Link)
	p.Backends = append(slices.Clip(p.Backends), be)
	b.pool(at, *p, &n)
	for j, l := range n.Listeners {
		if l.Pool == a.Pool {
			b.listenerPool(element("listener", j), l, &n) // it must serve what they do
		}
	}
	if len(b.found) > 0 {
		for i := range b.found { // they are of no line
			b.found[i].File, b.found[i].Line = "", 0
		}
		return nil, b.found
	}
	n.source.keys = b.keys
	return &n, nil
}

// strict decodes one JSON object of known fields and nothing else.
func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}
