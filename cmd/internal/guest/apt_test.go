package guest

import (
	"slices"
	"testing"
)

func TestChooseMirror(t *testing.T) {
	for _, tt := range []struct{ name, targets, want string }{
		{
			"the main archive, not the others",
			"Debian\tDebian-Security\thttp://s.example/debian-security/\n" +
				"\t\thttp://other.example/packages/\n" +
				"Debian\tDebian\thttps://m.example/d/\n" +
				"Debian\tDebian\thttp://second.example/debian/\n",
			"https://m.example/d/",
		},
		{
			"no list was ever fetched",
			"\t\thttp://s.example/debian-security/\n\t\thttp://m.example/debian/\n",
			"http://m.example/debian/",
		},
		{"another distribution", "Ubuntu\tUbuntu\thttp://u.example/ubuntu/\n", ""},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := chooseMirror(tt.targets)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestParseStanza(t *testing.T) {
	got := parseStanza(`Package: linux-image-9.1-cloud-amd64
Version: 9.1.2-1~bpo13+1
Depends: dracut | initramfs-tools (>= 0.120) | linux-initramfs-tool, linux-binary-9.1-cloud-amd64 (= 9.1.2-1~bpo13+1)
Description: Linux
 Depends: not this
`)
	if got.name != "linux-image-9.1-cloud-amd64" || got.version != "9.1.2-1~bpo13+1" {
		t.Errorf("got %q %q", got.name, got.version)
	}
	if want := []string{"dracut", "linux-binary-9.1-cloud-amd64"}; !slices.Equal(got.depends, want) {
		t.Errorf("got %q, want %q", got.depends, want)
	}
}

func TestSatisfied(t *testing.T) {
	for _, tt := range []struct {
		version string
		ok      bool
	}{
		{"6.14-1~bpo13+1", true},
		{"6.14.9-1", true},
		{"7.0.1-1", true},
		{"10.2-1", true},
		{"6.13.11-1", false},
		{"6.9.7-1~bpo12+1", false},
		{"5.20-1", false},
		{"um4", false},
		{"", false},
	} {
		if err := cloudKernel.satisfied(tt.version); (err == nil) != tt.ok {
			t.Errorf("%q: got %v, want no error: %v", tt.version, err, tt.ok)
		}
	}
}
