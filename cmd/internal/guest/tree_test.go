package guest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func sample(t *testing.T) tree {
	t.Helper()
	from := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(from, []byte("\x7fELF"), 0o600); err != nil {
		t.Fatal(err)
	}
	return tree{
		"usr/bin/program": {from: from, mode: 0o755},
		"etc/hosts":       {data: []byte("127.0.0.1 localhost\n"), mode: 0o644},
		"proc":            {mode: fs.ModeDir | 0o555},
		"dev/null":        {mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, major: 1, minor: 3},
	}
}

func TestWriteArchive(t *testing.T) {
	var buf bytes.Buffer
	if err := sample(t).writeArchive(&buf); err != nil {
		t.Fatal(err)
	}
	const want = `40755 dev
20666 dev/null 1:3
40755 etc
100644 etc/hosts "127.0.0.1 localhost\n"
40555 proc
40755 usr
40755 usr/bin
100755 usr/bin/program "\x7fELF"
0 TRAILER!!!
`
	if got := listArchive(t, buf.Bytes()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// listArchive reads the "newc" format: modes are octal, as stat(1) shows them.
func listArchive(t *testing.T, data []byte) string {
	t.Helper()
	var list strings.Builder
	for len(data) > 0 {
		if len(data) < 110 || string(data[:6]) != "070701" {
			t.Fatalf("after\n%s there is no header: %.20q", list.String(), data)
		}
		field := func(i int) int {
			n, err := strconv.ParseUint(string(data[6+8*i:14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
		padded := func(n int) int { return (n + 3) / 4 * 4 }
		body := padded(110 + field(11))
		fmt.Fprintf(&list, "%o %s", field(1), bytes.TrimRight(data[110:body], "\x00"))
		if field(9)+field(10) > 0 {
			fmt.Fprintf(&list, " %d:%d", field(9), field(10))
		}
		if size := field(6); size > 0 {
			fmt.Fprintf(&list, " %q", data[body:body+size])
		}
		fmt.Fprintln(&list)
		data = data[body+padded(field(6)):]
	}
	return list.String()
}

func TestWriteDir(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if err := sample(t).writeDir(root); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		fmt.Fprintln(&got, info.Mode(), name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = "-rw-r--r-- etc/hosts\n-rwxr-xr-x usr/bin/program\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}
