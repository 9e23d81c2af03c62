package guest

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"strings"
)

// tlsModule is the one module that must be there.
const tlsModule = "tls"

// cryptoModules are the ciphers of kernel TLS, in all kernels that matter, the
// better implementations last. In a guest nobody answers when the kernel asks
// for a module, so that a missing one shows as ENOENT when keys are set. Which
// of them a kernel has as modules varies: others are built in, or gone.
var cryptoModules = []string{
	"ctr", "gcm", "ccm", "ghash_generic",
	"chacha", "chacha_generic", "poly1305_generic", "chacha20poly1305",
	"aesni_intel", "ghash_clmulni_intel", "chacha_x86_64", "poly1305_x86_64",
}

// A moduleSet is unpacked modules, in the order in which they need each other.
type moduleSet struct {
	packed map[string]packedModule
	order  []string
	data   map[string][]byte
}

// resolve unpacks what kernel TLS needs of a kernel's modules.
func resolve(ctx context.Context, packed map[string]packedModule) (*moduleSet, error) {
	s := &moduleSet{packed: packed, data: map[string][]byte{}}
	for _, name := range append(cryptoModules[:len(cryptoModules):len(cryptoModules)], tlsModule) {
		if _, ok := packed[name]; !ok && name != tlsModule {
			continue
		}
		if err := s.add(ctx, name); err != nil {
			return nil, fmt.Errorf("the kernel's module %s: %w", name, err)
		}
	}
	return s, nil
}

// add puts a module behind those that it depends on. The kernel's build lets
// no two depend on each other.
func (s *moduleSet) add(ctx context.Context, name string) error {
	if _, ok := s.data[name]; ok {
		return nil
	}
	packed, ok := s.packed[name]
	if !ok {
		return errors.New("is not in its packages")
	}
	data, err := packed.unpack(ctx)
	if err != nil {
		return err
	}
	depends, err := moduleDepends(data)
	if err != nil {
		return err
	}
	for _, dep := range depends {
		if err := s.add(ctx, dep); err != nil {
			return fmt.Errorf("needs %s: %w", dep, err)
		}
	}
	s.data[name] = data
	s.order = append(s.order, name)
	return nil
}

// unpack undoes the compression that Debian uses. Guests cannot: they have no
// program for it, and not every kernel does it alone.
func (m packedModule) unpack(ctx context.Context) ([]byte, error) {
	switch ext := path.Ext(m.path); ext {
	case ".ko":
		return m.data, nil
	case ".xz":
		cmd := exec.CommandContext(ctx, "xz", "-dc")
		cmd.Stdin = bytes.NewReader(m.data)
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", path.Base(m.path), err)
		}
		return out, nil
	default:
		return nil, fmt.Errorf("unpack %s: %q is not known here", path.Base(m.path), ext)
	}
}

// moduleDepends reads "depends=" from a module itself: packages have no
// modules.dep, which depmod makes where they are installed.
func moduleDepends(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("there is no .modinfo in it")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	return parseDepends(string(info)), nil
}

// parseDepends reads "key=value" strings that end with a zero octet.
func parseDepends(info string) []string {
	var depends []string
	for entry := range strings.SplitSeq(info, "\x00") {
		list, ok := strings.CutPrefix(entry, "depends=")
		if !ok {
			continue
		}
		for name := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' }) {
			depends = append(depends, canonical(name))
		}
	}
	return depends
}
