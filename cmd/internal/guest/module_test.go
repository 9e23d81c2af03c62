package guest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// fakeModule is an ELF file with no more than a .modinfo in it.
func fakeModule(t *testing.T, info string) []byte {
	t.Helper()
	const names = "\x00.modinfo\x00.shstrtab\x00"
	const headerSize, sectionSize = 64, 64
	header := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1,
		Shoff: headerSize, Ehsize: headerSize, Shentsize: sectionSize, Shnum: 3, Shstrndx: 2,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	start := uint64(headerSize + 3*sectionSize)
	sections := []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: start, Size: uint64(len(info))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: start + uint64(len(info)), Size: uint64(len(names))},
	}
	var buf bytes.Buffer
	for _, part := range []any{header, sections, []byte(info), []byte(names)} {
		if err := binary.Write(&buf, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return buf.Bytes()
}

func TestResolve(t *testing.T) {
	module := func(path, depends string) packedModule {
		return packedModule{path: path, data: fakeModule(t, "license=GPL\x00depends="+depends+"\x00name=x\x00")}
	}
	all := map[string]packedModule{
		"tls":              module("net/tls/tls.ko", ""),
		"gcm":              module("crypto/gcm.ko", "gf128mul"),
		"gf128mul":         module("lib/crypto/gf128mul.ko", ""),
		"chacha20poly1305": module("crypto/chacha20poly1305.ko", "lib-chacha,libpoly1305"),
		"lib_chacha":       module("lib/crypto/lib-chacha.ko", "gf128mul"),
		"libpoly1305":      module("lib/crypto/libpoly1305.ko", ""),
		"unwanted":         module("crypto/unwanted.ko", "nobody"),
	}
	set, err := resolve(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"gf128mul", "gcm", "lib_chacha", "libpoly1305", "chacha20poly1305", "tls"}
	if !slices.Equal(set.order, want) {
		t.Errorf("got %v, want %v", set.order, want)
	}

	delete(all, "libpoly1305")
	if _, err := resolve(t.Context(), all); err == nil || !strings.Contains(err.Error(), "libpoly1305") {
		t.Errorf("without libpoly1305: got %v", err)
	}
	if _, err := resolve(t.Context(), nil); err == nil {
		t.Error("a kernel without TLS was taken")
	}
}

func TestUnpack(t *testing.T) {
	compress := exec.CommandContext(t.Context(), "xz", "-c")
	compress.Stdin = strings.NewReader("a module")
	compressed, err := compress.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		data []byte
		ok   bool
	}{
		{"a.ko", []byte("a module"), true},
		{"a.ko.xz", compressed, true},
		{"a.ko.xz", []byte("not compressed"), false},
		{"a.ko.rar", []byte("a module"), false},
	} {
		got, err := packedModule{path: tt.path, data: tt.data}.unpack(t.Context())
		if (err == nil) != tt.ok || tt.ok && string(got) != "a module" {
			t.Errorf("%s: got %q, %v", tt.path, got, err)
		}
	}
}

func TestModuleName(t *testing.T) {
	for path, want := range map[string]string{
		"./usr/lib/modules/7.3/kernel/net/tls/tls.ko.xz":                     "tls",
		"./usr/lib/uml/modules/6.1/kernel/arch/x86/crypto/aesni-intel.ko":    "aesni_intel",
		"./lib/modules/6.16/kernel/lib/crypto/libchacha.ko.xz":               "libchacha",
		"./usr/lib/modules/7.3/kernel/drivers/net/wireguard/wireguard.ko.xz": "",
		"./usr/lib/modules/7.3/modules.builtin":                              "",
		"./usr/share/doc/crypto/tls.ko":                                      "",
	} {
		if got, ok := moduleName(path); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v; want %q", path, got, ok, want)
		}
	}
}
