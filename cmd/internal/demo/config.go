package demo

import (
	_ "embed" // for usher.toml
	"fmt"
	"os"
	"strings"
	"text/template"
)

//go:embed usher.toml.tmpl
var configText string

var configTemplate = template.Must(template.New("usher.toml").Funcs(template.FuncMap{"quote": quote}).Parse(configText))

// writeConfig writes the usher.toml of a site whose back ends are started.
func (s *Site) writeConfig() error {
	var b strings.Builder
	err := configTemplate.Execute(&b, map[string]any{
		"Host": Host, "Address": loopback.String(), "Pool": Pool, "Socket": s.Socket(),
		"CAFile": s.CAFile(), "CertFile": s.certFile(), "KeyFile": s.keyFile(),
		"Interval": ProbeInterval, "Fall": ProbeFall, "Rise": ProbeRise, "Backends": s.backends(),
	})
	if err != nil {
		return fmt.Errorf("write usher.toml: %w", err)
	}
	return os.WriteFile(s.ConfigFile(), []byte(b.String()), 0o600)
}

type backendConfig struct {
	Name, TLSName string
	Port          uint16
	Weight        int
}

func (s *Site) backends() []backendConfig {
	var list []backendConfig
	for _, b := range s.Backends {
		list = append(list, backendConfig{Name: b.Name, TLSName: b.host(), Port: b.addr.Port(), Weight: b.Weight})
	}
	return list
}

// quote writes a value as a TOML string.
func quote(v any) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(fmt.Sprint(v)) + `"`
}
