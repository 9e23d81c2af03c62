package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"
)

// A fake shelf has a list, and remembers what it was asked to renew.
type fake struct {
	statuses []Status
}

func (f *fake) match(string) []*tls.Certificate { return nil }
func (f *fake) list() []Status                  { return f.statuses }
func (f *fake) run(ctx context.Context)         { <-ctx.Done() }

type fakeRenewer struct {
	fake
	asked []string
	err   error
}

func (f *fakeRenewer) renew(_ context.Context, name, key string, force bool) error {
	if key != "" {
		name += " " + key
	}
	if force {
		name += "!"
	}
	f.asked = append(f.asked, name)
	return f.err
}

func TestRenew(t *testing.T) {
	acme := &fakeRenewer{fake: fake{[]Status{
		{ID: "aaaa1111", Fingerprint: "aaaa11112222", Names: []string{"mail.example.org"}, Key: "ECDSA P-256", Source: "acme"},
		{ID: "bbbb1111", Names: []string{"mail.example.org"}, Key: "RSA 2048", Source: "acme"},
		{ID: "cccc1111", Names: []string{"*.example.org", "example.org"}, Source: "acme"},
		{Names: []string{"wanted.example.net"}, Source: "acme"},
	}}}
	fixed := &fake{[]Status{{ID: "dddd1111", Names: []string{"fixed.example"}, Source: "file"}}}
	k := shelved(nil, acme, fixed)
	for name, c := range map[string]struct {
		asked []string
		err   error
	}{
		"mail.example.org":      {[]string{"mail.example.org!"}, nil}, // both of its kinds at once
		"MAIL.example.org.":     {[]string{"mail.example.org!"}, nil},
		"aaaa1111":              {[]string{"mail.example.org ECDSA!"}, nil},
		"BBBB":                  {[]string{"mail.example.org RSA!"}, nil},
		"aaaa11112222":          {[]string{"mail.example.org ECDSA!"}, nil},
		"cccc":                  {[]string{"*.example.org!"}, nil},
		"example.org":           {[]string{"*.example.org!"}, nil},
		"*.example.org":         {[]string{"*.example.org!"}, nil},
		"other.example.org":     {[]string{"*.example.org!"}, nil}, // by the wildcard
		"wanted.example.net":    {[]string{"wanted.example.net!"}, nil},
		"deep.mail.example.org": {nil, ErrUnknown},
		"aaa":                   {nil, ErrUnknown},
		"":                      {nil, ErrUnknown},
		"fixed.example":         {nil, ErrNotHere},
	} {
		acme.asked = nil
		if err := k.Renew(t.Context(), name, true); !errors.Is(err, c.err) || !slices.Equal(acme.asked, c.asked) {
			t.Errorf("%q: got %v, %v, want %v, %v", name, acme.asked, err, c.asked, c.err)
		}
	}
	acme.err = errors.New("the CA says no")
	if err := k.Renew(t.Context(), "example.org", false); err == nil || !strings.Contains(err.Error(), "renew *.example.org: the CA says no") {
		t.Errorf("got %v, want the CA's words", err)
	}
	if _, err := k.Remove(t.Context(), "mail.example.org"); !errors.Is(err, ErrNotHere) {
		t.Errorf("got %v, want what was not imported to be left alone", err)
	}
	if _, err := k.Export("wanted.example.net", true); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "only the want") {
		t.Errorf("got %v, want to hear that there is none yet", err)
	}
}
