package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes a file in a temporary folder.
func write(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // the umask does not decide
		t.Fatal(err)
	}
	return path
}

func TestReadSecret(t *testing.T) {
	const password = "hunter2 ä"
	for _, tt := range []struct {
		name, content string
		mode          os.FileMode
		want          string // in the error; empty: none
	}{
		{"one line", password + "\n", 0o600, ""},
		{"no newline", password, 0o400, ""},
		{"CR LF", password + "\r\n", 0o640, ""},
		{"others read", password, 0o604, "has mode 0604, so others can read it"},
		{"others write", password, 0o602, "has mode 0602"},
		{"empty", "\n", 0o600, "is empty"},
		{"two lines", password + "\n" + password + "\n", 0o600, "has several lines"},
		{"NUL", password + "\x00\n", 0o600, "has several lines"},
		{"large", strings.Repeat(password, 200), 0o600, "has more than 1026 bytes"},
		{"just too large", strings.Repeat("x", 1025), 0o600, "has more than 1024 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadSecret(write(t, "s", tt.content, tt.mode))
			switch {
			case tt.want == "" && (err != nil || string(got) != password):
				t.Errorf("got %q and %v, want the password", string(got), err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got error %v, want …%s…", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
	if _, err := ReadSecret(t.TempDir()); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("directory: got %v", err)
	}
}

// A secret passes through every way of printing as what it is not.
func TestSecretHides(t *testing.T) {
	const s = Secret("hunter2")
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v %s %q %#v %+v %x", s, s, s, s, struct{ S Secret }{s}, s)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "s", s, "in", struct{ S Secret }{s})
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "s", s, "in", struct{ S Secret }{s})
	if err := json.NewEncoder(&b).Encode(map[string]any{"s": s}); err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{"hunter2", fmt.Sprintf("%x", string(s))} {
		if strings.Contains(b.String(), leak) {
			t.Errorf("%q in %s", leak, b.String())
		}
	}
}
