package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// A recipe says which kernel a guest wants.
type recipe struct {
	name         string // of the folder that it is kept in
	suite        string
	pkg          string
	major, minor int // the oldest that will do
}

var (
	umlKernel = recipe{
		name: "user-mode-linux", suite: "bookworm", pkg: "user-mode-linux",
		major: 6, minor: 1,
	}

	// cloudKernel is the kernel for virtual machines, which is half as large
	// as the other. Backports come and go, so that no version is named; kernel
	// TLS changes keys since 6.14.
	cloudKernel = recipe{
		name: "linux-backport", suite: "trixie-backports", pkg: "linux-image-cloud-amd64",
		major: 6, minor: 14,
	}
)

// String names all that decides what is in the folder of a kernel.
func (want recipe) String() string {
	return fmt.Sprintf("%s of %s, at least %d.%d, with %v", want.pkg, want.suite, want.major, want.minor, cryptoModules)
}

const (
	manifestName = "manifest.json"
	imageName    = "kernel"
)

// A kernel is a folder with a kernel and its modules for kernel TLS, made from
// packages that apt has verified.
type kernel struct {
	Package, Version string
	Recipe           string            // what it was made by
	Modules          []string          // file names, in the order in which they need each other
	Sums             map[string]string // of all files: name to SHA-256

	dir string
}

func (k kernel) String() string          { return k.Package + " " + k.Version }
func (k kernel) file(name string) string { return filepath.Join(k.dir, name) }

// load reads what build has written, and verifies it.
func (want recipe) load(dir string) (kernel, error) {
	k := kernel{dir: dir}
	text, err := os.ReadFile(k.file(manifestName))
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal(text, &k); err != nil {
		return k, fmt.Errorf("read %s: %w", k.file(manifestName), err)
	}
	if k.Recipe != want.String() {
		return k, fmt.Errorf("%s was made for other tests: %s, not %s", dir, k.Recipe, want)
	}
	for name, sum := range k.Sums {
		data, err := os.ReadFile(k.file(name))
		if err != nil {
			return k, err
		}
		if got := checksum(data); got != sum {
			return k, fmt.Errorf("%s is damaged: its SHA-256 is %s, not %s", k.file(name), got, sum)
		}
	}
	return k, nil
}

// build fetches a kernel and puts it into a folder; work is one for what is of
// no use afterwards.
func (want recipe) build(ctx context.Context, work, dir string) error {
	source, err := openApt(ctx, work, want.suite)
	if err != nil {
		return err
	}
	packages, err := source.parts(ctx, want.pkg)
	if err != nil {
		return err
	}
	k := kernel{
		Package: want.pkg, Version: packages[0].version, Recipe: want.String(),
		Sums: map[string]string{}, dir: dir,
	}
	if err := want.satisfied(k.Version); err != nil {
		return err
	}
	debs, err := source.download(ctx, packages)
	if err != nil {
		return err
	}
	b := bundle{modules: map[string]packedModule{}}
	for _, deb := range debs {
		if err := b.read(ctx, deb); err != nil {
			return err
		}
	}
	if b.image == nil {
		return fmt.Errorf("no kernel is in the packages of %s", k)
	}
	modules, err := resolve(ctx, b.modules)
	if err != nil {
		return err
	}
	return k.write(b.image, modules)
}

func (k kernel) write(image []byte, modules *moduleSet) error {
	files := map[string][]byte{imageName: image}
	for _, name := range modules.order {
		files[name+".ko"] = modules.data[name]
		k.Modules = append(k.Modules, name+".ko")
	}
	for name, data := range files {
		if err := os.WriteFile(k.file(name), data, 0o755); err != nil {
			return err
		}
		k.Sums[name] = checksum(data)
	}
	text, err := json.MarshalIndent(k, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(k.file(manifestName), text, 0o644)
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

var versionStart = regexp.MustCompile(`^(\d+)\.(\d+)`)

// satisfied reports what is wrong with a package's version.
func (want recipe) satisfied(version string) error {
	match := versionStart.FindStringSubmatch(version)
	if match == nil {
		return fmt.Errorf("%s has a version %q that no kernel has", want.pkg, version)
	}
	major, err1 := strconv.Atoi(match[1])
	minor, err2 := strconv.Atoi(match[2])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if major < want.major || major == want.major && minor < want.minor {
		return fmt.Errorf("the newest %s in %s is %s, and %d.%d is needed",
			want.pkg, want.suite, version, want.major, want.minor)
	}
	return nil
}
