package main_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// house is the drawing of this repository: its floors, from the ground up, and
// on each the packages with the own packages that they may import. A package
// uses only floors below its own. Change the drawing first, then the code.
//
// It holds for the code that is shipped; a test may import what the compiler
// lets it.
var house = []map[string]string{
	{ // the ground: each is understood without any other
		"balancer/admin/chrome":  "",
		"balancer/certs/dnstest": "",
		"balancer/certs/pebble":  "",
		"balancer/certs/rfc2136": "",
		"balancer/guard":         "",
		"balancer/record":        "",
		"balancer/strand":        "",
		"bench/bulk":             "",
		"bench/gauge":            "",
		"bench/result":           "",
		"cluster/place":          "",
		"cluster/rule":           "",
		"health":                 "",
		"sniff":                  "",
	},
	{
		"balancer/certs":     "balancer/strand",
		"balancer/forward":   "balancer/record",
		"balancer/handshake": "balancer/record",
		"bench/load":         "bench/bulk",
		"bench/peers":        "bench/gauge",
		"bench/sink":         "bench/bulk",
		"cluster/table":      "cluster/place cluster/rule",
		"sniff/imap":         "sniff",
		"sniff/pop3":         "sniff",
		"sniff/snifftest":    "sniff",
	},
	{
		"balancer":       "balancer/forward balancer/guard balancer/handshake balancer/strand health sniff",
		"bench/scenario": "bench/gauge bench/load bench/peers bench/result",
		"cluster/member": "cluster/place cluster/rule cluster/table",
	},
	{
		"cluster/lead": "cluster/member cluster/place cluster/rule cluster/table",
	},
	{
		"cluster":     "cluster/lead cluster/member cluster/place cluster/table health",
		"cluster/sim": "cluster/lead cluster/member cluster/place cluster/rule cluster/table",
	},
	{
		"balancer/admin":        "balancer balancer/certs balancer/forward balancer/guard cluster cluster/place cluster/table health",
		"balancer/balancertest": "balancer sniff",
		"balancer/directory":    "balancer",
		"cluster/certstore":     "cluster cluster/table",
	},
	{ // cmd/usher wires; these know nothing of what is wired
		"cmd/internal/config":  "",
		"cmd/internal/demo":    "",
		"cmd/internal/dovecot": "",
		"cmd/internal/guest":   "",
	},
	{ // the programs
		"bench":                   "bench/gauge bench/load bench/peers bench/result bench/scenario bench/sink",
		"cmd/packaging":           "", // shell and unit files: here are their tests
		"cmd/internal/guest/init": "cmd/internal/guest",
		"cmd/usher": "balancer balancer/admin balancer/certs balancer/certs/rfc2136 balancer/directory balancer/forward " +
			"balancer/guard balancer/handshake cluster cluster/certstore cluster/place cluster/table cmd/internal/config cmd/internal/demo " +
			"health sniff sniff/imap sniff/pop3",
	},
}

// pure are the packages that do no I/O and read no clock: that is why they can
// be fuzzed, simulated and trusted.
var pure = []string{"balancer/record", "sniff", "sniff/imap", "sniff/pop3", "cluster/place", "cluster/table", "cluster/member", "cluster/lead", "cluster/rule"}

// impure are the imports that would make them otherwise.
var impure = []string{"crypto/tls", "net", "net/http", "os", "os/exec", "syscall", "time", "golang.org/x/sys/unix"}

// outsiders are modules that only one package may know, so that they can be
// exchanged there and nowhere else. The demo's back ends read what the balancer
// writes: PROXY headers have a package on either end.
var outsiders = map[string]string{
	"github.com/caddyserver/certmagic":    "balancer/certs cluster/certstore",
	"github.com/chromedp/cdproto":         "balancer/admin/chrome",
	"github.com/chromedp/chromedp":        "balancer/admin/chrome",
	"github.com/coreos/go-systemd/v22":    "cmd/usher",
	"github.com/emersion/go-imap/v2":      "cmd/internal/demo",
	"github.com/fsnotify/fsnotify":        "balancer/certs",
	"github.com/hashicorp/go-hclog":       "cluster",
	"github.com/hashicorp/memberlist":     "cluster",
	"github.com/hashicorp/raft":           "cluster",
	"github.com/hashicorp/raft-wal":       "cluster",
	"github.com/libdns/libdns":            "balancer/certs/rfc2136",
	"github.com/miekg/dns":                "balancer/certs/dnstest balancer/certs/rfc2136",
	"github.com/mholt/acmez/v3":           "balancer/certs",
	"github.com/pelletier/go-toml/v2":     "cmd/internal/config",
	"github.com/pires/go-proxyproto":      "balancer bench/peers cmd/internal/demo",
	"github.com/prometheus/client_golang": "balancer/admin",
	"github.com/spf13/cobra":              "bench cmd/usher",
	"go.uber.org/zap":                     "balancer/certs",
	"golang.org/x/crypto":                 "balancer/record",
	"golang.org/x/net":                    "balancer/certs",
	"golang.org/x/perf":                   "bench/result",

	"github.com/HdrHistogram/hdrhistogram-go": "bench/load",
}

// nameless are words that say nothing of what a package or file is for.
var nameless = []string{"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}

const (
	module    = "usher.example"
	maxLines  = 600
	manifesto = "docs/dependencies.md"
)

// A source is one Go file of this repository.
type source struct {
	name   string // relative to the repository, with slashes
	pkg    string // relative to the module
	lines  int
	test   bool
	sleeps bool      // calls time.Sleep
	ast    *ast.File // as far as the imports, with comments
}

// imports are the file's import paths.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has accepted it
		}
		paths = append(paths, p)
	}
	return paths
}

func TestHouse(t *testing.T) {
	allowed := map[string][]string{}
	floor := map[string]int{}
	for i, rooms := range house {
		for pkg, imports := range rooms {
			allowed[pkg], floor[pkg] = strings.Fields(imports), i
		}
	}
	for pkg, imports := range allowed {
		for _, imported := range imports {
			if at, ok := floor[imported]; !ok || at >= floor[pkg] {
				t.Errorf("the drawing lets %s import %s, which is not on a floor below", pkg, imported)
			}
		}
	}
	for _, src := range sources(t) {
		if _, ok := allowed[src.pkg]; !ok {
			t.Errorf("%s: package %s is not in the drawing; draw it first", src.name, src.pkg)
			continue
		}
		for _, imported := range src.imports() {
			own, ok := strings.CutPrefix(imported, module+"/")
			if ok && !src.test && !slices.Contains(allowed[src.pkg], own) {
				t.Errorf("%s: %s may not import %s", src.name, src.pkg, own)
			}
		}
	}
}

func TestPurePackages(t *testing.T) {
	for _, src := range sources(t) {
		if src.test || !slices.Contains(pure, src.pkg) {
			continue
		}
		for _, imported := range src.imports() {
			if slices.Contains(impure, imported) {
				t.Errorf("%s: %s does no I/O and reads no clock, it may not import %s", src.name, src.pkg, imported)
			}
		}
	}
}

func TestOutsiders(t *testing.T) {
	for _, src := range sources(t) {
		for _, imported := range src.imports() {
			for outsider, pkgs := range outsiders {
				if !src.test && within(imported, outsider) && !slices.Contains(strings.Fields(pkgs), src.pkg) {
					t.Errorf("%s: only %s may import %s", src.name, pkgs, imported)
				}
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	commented := map[string]bool{}
	for _, src := range sources(t) {
		if src.test {
			continue
		}
		doc := src.ast.Doc.Text()
		ok := strings.HasPrefix(doc, "Package "+src.ast.Name.Name+" ")
		if src.ast.Name.Name == "main" {
			ok = strings.HasPrefix(doc, "Usher ") || strings.HasPrefix(doc, "Command "+path.Base(src.pkg)+" ")
		}
		commented[src.pkg] = commented[src.pkg] || ok
	}
	for pkg, ok := range commented {
		if !ok {
			t.Errorf("%s has no package comment: what it is, what it is not, its laws", pkg)
		}
	}
}

func TestFileSizes(t *testing.T) {
	for _, src := range sources(t) {
		if src.lines > maxLines && !ast.IsGenerated(src.ast) {
			t.Errorf("%s has %d lines, more than %d: the house has rooms", src.name, src.lines, maxLines)
		}
	}
}

// TestNoSleep wants no test to wait for as long as something may take: it would
// be slow on good days and fail on bad ones. In a bubble of testing/synctest,
// Sleep is how time passes; elsewhere a test waits for what it needs to happen.
func TestNoSleep(t *testing.T) {
	for _, src := range sources(t) {
		imports := src.imports()
		testing := src.test || slices.Contains(imports, "testing")
		if testing && src.sleeps && !slices.Contains(imports, "testing/synctest") {
			t.Errorf("%s calls time.Sleep", src.name)
		}
	}
}

func TestNames(t *testing.T) {
	for _, src := range sources(t) {
		stem := strings.TrimSuffix(strings.TrimSuffix(src.name, ".go"), "_test")
		for word := range strings.FieldsFuncSeq(stem, func(r rune) bool { return r == '/' || r == '_' }) {
			if slices.Contains(nameless, word) {
				t.Errorf("%s: %q does not say what is inside", src.name, word)
			}
		}
	}
}

func TestReadme(t *testing.T) {
	readme := read(t, "README.md")
	for _, want := range []string{"go run ./cmd/usher demo", "make test"} {
		if !strings.Contains(readme, want) {
			t.Errorf("README.md does not name the command %q", want)
		}
	}
	var rooms []string
	for _, src := range sources(t) {
		top, _, _ := strings.Cut(src.pkg, "/")
		rooms = append(rooms, top)
	}
	slices.Sort(rooms)
	for _, top := range slices.Compact(rooms) {
		if !strings.Contains(readme, top+"/") {
			t.Errorf("README.md does not say what %s/ is", top)
		}
	}
}

// TestDependencies wants a row "| `module` | reason |" for every module that is
// imported, in a test or not, and no row for others.
func TestDependencies(t *testing.T) {
	required := requirements(t)
	used := map[string]bool{}
	for _, src := range sources(t) {
		for _, imported := range src.imports() {
			of := "" // the longest: a module may be the beginning of another's path
			for _, m := range required {
				if within(imported, m) && len(m) > len(of) {
					of = m
				}
			}
			used[of] = true
		}
	}
	reasons := map[string]string{}
	for line := range strings.Lines(read(t, manifesto)) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		if m := strings.TrimSpace(cells[1]); strings.HasPrefix(m, "`") {
			reasons[strings.Trim(m, "`")] = strings.TrimSpace(cells[2])
		}
	}
	for _, m := range required {
		if used[m] && reasons[m] == "" {
			t.Errorf("%s does not say why %s is needed", manifesto, m)
		}
	}
	for m := range maps.Keys(reasons) {
		if !slices.Contains(required, m) {
			t.Errorf("%s names %s, which go.mod does not require", manifesto, m)
		}
	}
}

// requirements are the modules in go.mod.
func requirements(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("read go.mod: %v", err)
	}
	var mod struct{ Require []struct{ Path string } }
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatalf("read go.mod: %v", err)
	}
	var paths []string
	for _, r := range mod.Require {
		paths = append(paths, r.Path)
	}
	if len(paths) == 0 {
		t.Fatal("go.mod requires nothing: it was not read rightly")
	}
	return paths
}

// within reports whether an import path belongs to a module.
func within(imported, mod string) bool {
	return imported == mod || strings.HasPrefix(imported, mod+"/")
}

// root is the repository, from where this test runs.
var root = filepath.Join("..", "..")

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sources are all Go files, whatever they are built for.
func sources(t *testing.T) []source {
	t.Helper()
	var found []source
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		text := []byte(read(t, name))
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		found = append(found, source{
			name:   name,
			pkg:    path.Dir(name),
			lines:  bytes.Count(text, []byte("\n")),
			test:   strings.HasSuffix(name, "_test.go"),
			sleeps: bytes.Contains(text, []byte("time.Sleep"+"(")),
			ast:    file,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 2 {
		t.Fatalf("%d Go files found in %s: this looks at the wrong place", len(found), root)
	}
	return found
}
