package dovecot

import (
	_ "embed"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"text/template"
)

//go:embed dovecot.conf.tmpl
var configText string

var configTemplate = template.Must(template.New("dovecot.conf").Parse(configText))

// A listener is one port that every instance listens on.
type listener struct {
	Protocol string // whose login process serves it
	Name     string
	Port     uint16
	TLS      bool // from the first octet
	Proxy    bool // demands a PROXY header, v1 or v2, before anything else
}

// listeners are fixed, since every instance has an address of its own, and
// above 1023, so that no test needs root.
var listeners = []listener{
	{Protocol: "imap", Name: "imap", Port: 10143},
	{Protocol: "imap", Name: "imaps", Port: 10993, TLS: true},
	{Protocol: "imap", Name: "imap-proxy", Port: 11143, Proxy: true},
	{Protocol: "imap", Name: "imaps-proxy", Port: 11993, TLS: true, Proxy: true},
	{Protocol: "pop3", Name: "pop3", Port: 10110},
	{Protocol: "pop3", Name: "pop3s", Port: 10995, TLS: true},
	{Protocol: "pop3", Name: "pop3-proxy", Port: 11110, Proxy: true},
	{Protocol: "pop3", Name: "pop3s-proxy", Port: 11995, TLS: true, Proxy: true},
}

// writeConfig writes all files that the server reads.
func (s *Server) writeConfig(cert, key string) error {
	for _, dir := range []string{"run", "state"} {
		if err := os.Mkdir(s.file(dir), 0o755); err != nil {
			return err
		}
	}
	rootless, err := currentUser()
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := configTemplate.Execute(&text, struct {
		Options
		Dir, Address, Cert, Key, Delay, Separator string
		Protocols                                 []string
		Listeners                                 []listener
		Rootless                                  *user.User // nil as root
	}{
		Options: s.opts,
		Dir:     s.dir, Address: s.Address.String(), Cert: cert, Key: key,
		Delay: seconds(s.opts.FailureDelay), Separator: MasterSeparator,
		Protocols: []string{"imap", "pop3"},
		Listeners: listeners,
		Rootless:  rootless,
	}); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"dovecot.conf": text.String(),
		"masters":      passwdFile(s.opts.Masters),
		"users":        passwdFile(s.opts.Users),
		"oauth2.conf": "tokeninfo_url = " + s.tokens.url() + "\n" +
			"username_attribute = username\nactive_attribute = active\nactive_value = true\n",
	} {
		// Dovecot's authentication process reads some of these, unprivileged.
		if err := os.WriteFile(s.file(name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// currentUser returns who runs the tests, or nil for root. As root, Dovecot's
// unprivileged processes run as the users that its package made; anybody else
// can only run them as himself.
func currentUser() (*user.User, error) {
	if os.Getuid() == 0 {
		return nil, nil
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		return nil, err
	}
	me.Gid = group.Name // Dovecot wants names
	return me, nil
}

// passwdFile writes users and plain passwords in the form of passwd(5). Plain
// they must be: SCRAM computes its own keys from them.
func passwdFile(users map[string]string) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(users)) {
		fmt.Fprintf(&text, "%s:{PLAIN}%s::::::\n", name, users[name])
	}
	return text.String()
}
