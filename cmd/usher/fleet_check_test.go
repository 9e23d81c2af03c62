package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher.example/cluster"
	"usher.example/cmd/internal/config"
)

// usher check reads the fleet's secret and says in which line it is named.
func TestCheckFleet(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("good", cluster.NewSecret().Text()+"\n", 0o600)
	write("bad", "swordfish\n", 0o600)
	write("open", cluster.NewSecret().Text()+"\n", 0o644)
	for _, tt := range []struct{ file, want string }{
		{"good", ""},
		{"bad", "3:1: secret_file: fleet secret: DIR/bad: a line is not 32 octets in base64; usher fleet secret makes one"},
		{"open", "3:1: secret_file: fleet secret: DIR/open can be read by everybody (mode 0644); chmod 0600 DIR/open"},
		{"none", "3:1: secret_file: fleet secret: stat DIR/none: no such file or directory; usher fleet secret makes one"},
	} {
		name := filepath.Join(dir, "usher.toml")
		c, err := config.ParseWitness(name, []byte("[fleet]\nname = \"mail\"\nsecret_file = \""+tt.file+"\"\nbind = \"127.0.0.1\"\nvoters = [\"a\"]\n"))
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(strings.TrimPrefix(checkFleet(c).Error(), name+":"), dir, "DIR")
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.file, got, tt.want)
		}
		if strings.Contains(got, "swordfish") {
			t.Errorf("%s: the secret is told", tt.file)
		}
	}
}
