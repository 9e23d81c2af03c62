package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAPIRules(t *testing.T) {
	const good = "cert_file = \"a.pem\"\nkey_file = \"a.key\"\n"
	for _, tt := range []struct {
		name, table string
		want        []string
	}{
		{"none", "", nil},
		{"tokens", "address = \":9181\"\ntoken_file = \"t\"\n" + good, nil},
		{"certificates", "address = \":9181\"\nclient_ca_file = \"c\"\noperators = [\"ann\", \"OU=mail\", \"*\"]\n" + good, nil},
		{"nobody", "address = \":9181\"\n" + good, []string{"2:1: nobody could use the API"}},
		{"plaintext", "address = \"127.0.0.1:9181\"\ntoken_file = \"t\"\n", []string{"2:1: cert_file is missing", "2:1: key_file is missing"}},
		{"no address", "token_file = \"t\"\n", []string{"2:1: token_file is for nothing"}},
		{"no address that could be", "address = \"x\"\ntoken_file = \"t\"\n", []string{"2:1: address: want an address and a port"}},
		{"subject", "address = \":9181\"\nclient_ca_file = \"c\"\noperators = [\"DN=x\", \"OU=\"]\n" + good, []string{`operators: "DN=x" is about no subject`, `operators: "OU=" is about no subject`}},
		{"port of a listener", "address = \":993\"\ntoken_file = \"t\"\n" + good, []string{"is taken by admin.api"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("usher.toml", []byte("[admin.api]\n"+tt.table+small))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if n := strings.Count(got, "\n") + 1; got != "" && n != len(tt.want) || got == "" && tt.want != nil {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			for _, w := range tt.want {
				if !strings.Contains(got, w) {
					t.Errorf("got %q, want %q in it", got, w)
				}
			}
		})
	}
}

// TestAPICheck tries the files of the table.
func TestAPICheck(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"a.pem": 0o600, "a.key": 0o644, "c.pem": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("nothing\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "usher.toml")
	text := "[admin.api]\naddress = \"127.0.0.1:9181\"\ncert_file = \"a.pem\"\nkey_file = \"a.key\"\nclient_ca_file = \"c.pem\"\noperators = [\"*\"]\n" + small
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Check(t.Context()).Error()
	for _, want := range []string{"4:1: key_file: ", "chmod o=", "5:1: client_ca_file: ", "no certificate in PEM", `6:1: `, "lets every certificate of client_ca_file give orders"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
