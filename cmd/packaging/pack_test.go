package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// dated is what the listing of a package says of when files were changed, and sizes of
// folders and links.
var dated = regexp.MustCompile(` +\d+ \d{4}-\d\d-\d\d \d\d:\d\d `)

// TestPackedAlike holds the packages that tests install without nfpm (testdata/pack) to
// those that nfpm makes: the same files with the same modes and owners, the same scripts,
// the same relations to other packages.
func TestPackedAlike(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED, compiles nfpm: USHER_LONG=1")
	}
	need(t, "dpkg-deb")
	pack, err := filepath.Abs("testdata/pack")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(usher(t), "usher")
	packages := map[string]string{}
	for _, packer := range []string{"", pack} {
		cmd := exec.Command("./build", t.TempDir())
		cmd.Env = append(os.Environ(), "VERSION=1.0", "PROGRAM="+program, "NFPM="+packer)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("build with NFPM=%q: %v", packer, err)
		}
		packages[packer] = strings.TrimSpace(string(out))
	}
	for name, look := range map[string]func(deb string) string{
		"files": func(deb string) string {
			var lines []string
			for line := range strings.Lines(said(t, "dpkg-deb", "--contents", deb)) {
				if line = dated.ReplaceAllString(line, " "); !strings.HasPrefix(line, "d") { // nfpm lists not all folders
					lines = append(lines, line)
				}
			}
			return strings.Join(lines, "")
		},
		"relations": func(deb string) string {
			return said(t, "dpkg-deb", "--field", deb, "Package", "Version", "Architecture", "Depends", "Recommends", "Suggests", "Description")
		},
		"scripts": func(deb string) string {
			dir := t.TempDir()
			said(t, "dpkg-deb", "--control", deb, dir)
			return said(t, "sh", "-c", `cd "$0" && for f in conffiles preinst postinst prerm postrm; do stat -c '%n %a' $f; grep . $f; done`, dir)
		},
	} {
		if nfpm, ours := look(packages[""]), look(packages[pack]); nfpm != ours {
			t.Errorf("%s: nfpm has\n%s\nand testdata/pack\n%s", name, nfpm, ours)
		}
	}
}

// said is what a program prints that has to succeed.
func said(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}
