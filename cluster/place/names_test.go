package place

import (
	"testing"

	"pgregory.net/rapid"
)

func TestNormal(t *testing.T) {
	var (
		none    = Names{}
		lower   = Names{LowerCase: true}
		domain  = Names{DefaultDomain: "Example.ORG"}
		both    = Names{LowerCase: true, DefaultDomain: "Example.ORG"}
		strip   = Names{StripDomain: "Example.org"}
		anyone  = Names{StripDomain: AnyDomain}
		lowered = Names{LowerCase: true, StripDomain: AnyDomain}
	)
	for _, tt := range []struct {
		name  string
		names Names
		user  string
		want  string
	}{
		{"nothing set", none, "Joe@Example.org", "Joe@Example.org"},
		{"lower case", lower, "Joe@EXAMPLE.org", "joe@example.org"},
		{"lower case leaves what is not ASCII", lower, "JÖRGİ", "jÖrgİ"},
		{"lower case leaves what is not UTF-8", lower, "J\xff\xc3Z", "j\xff\xc3z"},
		{"default domain", domain, "Joe", "Joe@Example.ORG"},
		{"default domain, lower case", both, "Joe", "joe@example.org"},
		{"default domain where there is one", both, "Joe@other.example", "joe@other.example"},
		{"default domain where an empty one is", domain, "joe@", "joe@"},
		{"no domain for nobody", domain, "", ""},
		{"strip the listed one", strip, "Joe@eXample.org", "Joe"},
		{"strip no other", strip, "Joe@example.com", "Joe@example.com"},
		{"strip nothing where nothing is", strip, "Joe", "Joe"},
		{"strip no part of a domain", strip, "joe@sub.example.org", "joe@sub.example.org"},
		{"strip any", anyone, "joe@anything", "joe"},
		{"strip any, empty", anyone, "joe@", "joe"},
		{"strip from the first @", anyone, "joe@a@b", "joe"},
		{"strip any, lower case", lowered, "JOE@A", "joe"},
		{"a name that is all domain", anyone, "@example.org", "@example.org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.names.Normal(tt.user); got != tt.want {
				t.Errorf("Normal(%q) = %q, want %q", tt.user, got, tt.want)
			}
		})
	}
}

func TestNormalIsIdempotent(t *testing.T) {
	domains := rapid.SampledFrom([]string{"", "a", "A", AnyDomain, "a.example"})
	rapid.Check(t, func(t *rapid.T) {
		n := Names{
			LowerCase:     rapid.Bool().Draw(t, "lower case"),
			DefaultDomain: domains.Draw(t, "default"),
			StripDomain:   domains.Draw(t, "strip"),
		}
		user := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("aA@.Ö")))).Draw(t, "user")
		once := n.Normal(user)
		if twice := n.Normal(once); twice != once {
			t.Fatalf("%+v: Normal(%q) = %q, and of that %q", n, user, once, twice)
		}
	})
}

func TestNamesValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    Names
		ok   bool
	}{
		{"zero", Names{}, true},
		{"default domain", Names{DefaultDomain: "example.org", LowerCase: true}, true},
		{"strip one", Names{StripDomain: "example.org"}, true},
		{"strip any", Names{StripDomain: AnyDomain}, true},
		{"both", Names{DefaultDomain: "a", StripDomain: "b"}, false},
		{"default domain with @", Names{DefaultDomain: "@example.org"}, false},
		{"default domain any", Names{DefaultDomain: "*"}, false},
		{"strip with @", Names{StripDomain: "@example.org"}, false},
		{"strip a pattern", Names{StripDomain: "*.example.org"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.n.Validate(); (err == nil) != tt.ok {
				t.Errorf("Validate() = %v, want ok %v", err, tt.ok)
			}
		})
	}
}

func TestNormalAllocatesOnlyWhenItChanges(t *testing.T) {
	n := Names{LowerCase: true, DefaultDomain: "example.org"}
	if got := testing.AllocsPerRun(100, func() { n.Normal("joe@example.org") }); got != 0 {
		t.Errorf("%v allocations for a name in normal form, want 0", got)
	}
}
