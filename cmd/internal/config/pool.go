package config

import "time"

// Pool is one [[pool]].
type Pool struct {
	// Name in listeners, logs and commands.
	Name string `toml:"name" required:"yes" form:"name" example:"main"`

	// Whether every back end has every mailbox. "shared": any back end may
	// serve a user, so when one is down its users are placed on the others.
	// "local": a user's mail is on his own back end, and nobody else can serve
	// him. There is no default: the wrong one shows users empty mailboxes, or
	// an outage that need not be.
	Storage Storage `toml:"storage" required:"yes" example:"shared"`

	// Users with a place of their own, which comes before the computed one.
	// SIGHUP reads the file again. In a fleet all nodes should have the same.
	PinsFile string `toml:"pins_file" default:"" form:"path" example:"/etc/usher/pins"`

	// Account that may log in as any user, for clients whose password usher
	// does not have: those with a certificate (EXTERNAL).
	MasterUser string `toml:"master_user" default:"" form:"word" example:"usher"`

	// File with its password, on one line. Others must not be able to read it.
	MasterPasswordFile string `toml:"master_password_file" default:"" form:"path" example:"/etc/usher/master.secret"`

	// What stands between user and master user in the login name
	// (Dovecot's auth_master_user_separator, "*" by custom). Empty: SASL PLAIN
	// with the user as authorization identity.
	MasterSeparator string `toml:"master_separator" default:"" form:"separator" example:"*"`

	// Capabilities of the back ends over IMAP, in place of what probes learn.
	IMAPCapabilities []string `toml:"imap_capabilities" default:"[]" form:"capability" example:"[\"IMAP4rev1\", \"SASL-IR\", \"LITERAL+\", \"AUTH=PLAIN\"]"`

	// The same over POP3, a line of CAPA each.
	POP3Capabilities []string `toml:"pop3_capabilities" default:"[]" form:"capa" example:"[\"TOP\", \"UIDL\", \"SASL PLAIN\"]"`

	// Settings of the connections to back ends. Every back end of the pool has
	// them unless it says otherwise.
	Link

	// Active checks.
	Health Health `toml:"health"`

	// The servers. At least one.
	Backends []Backend `toml:"backend"`
}

// Health is the [pool.health] table.
type Health struct {
	// Time between two probes of a back end, give or take 20 %. A connection
	// that fails causes a probe at once. In a fleet five nodes at most do that
	// for one back end.
	Interval time.Duration `toml:"interval" default:"4s" range:"100ms..1h"`

	// The same while the last probes speak against what the back end counts as.
	// With a longer one a server that restarts has more time before its users
	// are moved. No more than the interval counts.
	FastInterval time.Duration `toml:"fast_interval" default:"1s" range:"100ms..1h"`

	// Time of one probe. At most the interval.
	Timeout time.Duration `toml:"timeout" default:"2s" range:"10ms..5m"`

	// Good probes in a row that bring a back end up.
	Rise int `toml:"rise" default:"3" range:"1..100"`

	// Bad probes in a row that take it down.
	Fall int `toml:"fall" default:"3" range:"1..100"`

	// How deep a probe goes. "connect": the port is open. "greeting": the
	// server greets, does TLS and tells its capabilities. "login": the test
	// account logs in, and opens its INBOX over IMAP.
	Depth Depth `toml:"depth" default:"greeting"`

	// The test account, for depth "login".
	TestUser string `toml:"test_user" default:"" form:"word" example:"probe@example.org"`

	// File with its password, on one line. Others must not be able to read it.
	TestPasswordFile string `toml:"test_password_file" default:"" form:"path" example:"/etc/usher/probe.secret"`
}

// Link is how connections to a back end are made: keys of [[pool]], and again
// of [[pool.backend]], where those that are left out come from the pool.
type Link struct {
	// When TLS begins: "starttls" by command, "implicit" at once, "none" never.
	// It never falls back: a server that does not offer it is unavailable.
	// Passwords go to the server, so plaintext has to be asked for.
	TLS TLSMode `toml:"tls" default:"starttls"`

	// Oldest TLS version that is taken from the server.
	TLSMin TLSVersion `toml:"tls_min" default:"1.2"`

	// CAs that the server's certificate is verified with, PEM. Empty: those of
	// the system.
	TLSCAFile string `toml:"tls_ca_file" default:"" form:"path" example:"/etc/usher/backends.pem"`

	// Name that the certificate must carry, and that is asked for by SNI.
	// Empty: the back end's host.
	TLSName string `toml:"tls_name" default:"" form:"host" example:"imap.internal.example.org"`

	// Do not verify the certificate. Whoever stands between usher and the
	// server can then read passwords; every start warns of it.
	TLSInsecure bool `toml:"tls_insecure" default:"false"`

	// Certificate that usher shows to the server, PEM. Empty: none.
	TLSCertFile string `toml:"tls_cert_file" default:"" form:"path" example:"/etc/usher/client.pem"`

	// Its private key, PEM. Others must not be able to read the file.
	TLSKeyFile string `toml:"tls_key_file" default:"" form:"path" example:"/etc/usher/client.key"`

	// How the back end learns the client's address. "proxy2", "proxy1": PROXY
	// header of that version, before all else (Dovecot: haproxy = yes).
	// "command": IMAP ID and POP3 XCLIENT, which the server must accept from
	// usher (Dovecot: login_trusted_networks). "none": it sees usher's, and its
	// limits and penalties take all users for one client.
	ClientAddress ClientAddress `toml:"client_address" default:"none"`
}

// Backend is one [[pool.backend]].
type Backend struct {
	// Name in logs, metrics and commands. It decides who lands here: a back end
	// that is renamed has other users, one that gets another host or port has
	// not. Who is live at the old host then leaves it at his next login.
	Name string `toml:"name" required:"yes" form:"name" example:"mail1"`

	// Host name or address. What a name was found to be serves logins for ten seconds,
	// and is asked for again when a connection fails.
	Host string `toml:"host" required:"yes" form:"host" example:"mail1.internal.example.org"`

	// Port of IMAP. 0: not served.
	IMAPPort int `toml:"imap_port" default:"0" range:"0..65535" example:"143" live:"yes"`

	// Port of POP3. 0: not served.
	POP3Port int `toml:"pop3_port" default:"0" range:"0..65535" example:"110"`

	// Share of the users relative to the others' weights. With 0 only pins lead
	// here; to empty a back end that has users, drain it.
	Weight int `toml:"weight" default:"100" range:"0..1000"`

	// Sessions on this back end. Above it logins are answered that it is
	// unavailable. 0: no limit.
	Sessions int `toml:"sessions" default:"0" range:"0.."`

	// As in the pool.
	Link
}
