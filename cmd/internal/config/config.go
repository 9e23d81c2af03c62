// Package config reads usher.toml into one tree of structs.
//
// The tree is also the manual: the comment of every field here is what `usher
// config` and docs/configuration.md print, its tags are what the reader
// enforces, and a test holds the three together. The package knows no other
// package of usher; cmd/usher turns the tree into each package's Options.
//
// Laws:
//   - [Parse] is pure. It touches neither network nor files, so a file gets
//     the same answer on every machine; [Config.Check] is the step that looks
//     at the machine.
//   - All problems come at once, each with file, line and column and with what
//     is allowed instead.
//   - A Config that [Parse] returned is complete: defaults are filled in, back
//     ends have their pool's link settings, relative paths are resolved.
//     Nobody else needs to know a default.
//   - No secret is ever part of the tree, only the name of the file with it.
package config

import (
	"io/fs"
	"time"
)

// DefaultPath is where the configuration is when nobody says otherwise.
const DefaultPath = "/etc/usher/usher.toml"

// The tags of the tree's fields:
//
//	toml     the key; a struct field without one is part of the table around it
//	default  the value of a key that the file leaves out, as the file would write it
//	required the key must be there
//	range    "low..high", either may be empty; numbers, durations
//	because  the reason of the range, told when it is left
//	form     what a text may look like (see forms in form.go)
//	example  a value for the reference, where there is no default to show
//	live     "yes": the reference sets the example, to be a valid file
//	reload   "no": only a restart changes it (see NeedsRestart)

// Config is the whole file.
type Config struct {
	// Name of this host as clients see it: in greetings, and in what is told
	// to back ends. Empty: the host's own name.
	Hostname string `toml:"hostname" default:"" form:"domain" example:"mail.example.org"`

	// How long SIGTERM waits for sessions to end by themselves. After that, or
	// at a second SIGTERM, they are closed. systemd's TimeoutStopSec has to be
	// longer.
	Drain time.Duration `toml:"drain" default:"30s" range:"0s..1h"`

	// How long SIGTERM lets everything go on, logins too, while /readyz, the
	// agent and `usher check-health` say already that the node is draining: whoever
	// sends clients here has to notice before a connection is refused. Only after
	// that are the listeners closed, and drain begins. The default is longer than
	// what keepalived, HAProxy and a route daemon take with the configurations of
	// docs/examples; DNS takes longer. "0s" if nothing looks, or if a restart is to be
	// quick. A second SIGTERM ends it.
	Withdraw time.Duration `toml:"withdraw" default:"8s" range:"0s..10m"`

	// How bytes of established sessions move. "auto": by event loops, plaintext
	// spliced inside the kernel, TLS by the kernel where it can do it and change
	// keys, else by usher's own record layer. "user": the same without the
	// kernel's TLS. "ktls": with it also where it cannot change keys; a client that
	// asks for new ones is then disconnected. "copy": by two goroutines for each
	// session, TLS by Go's crypto/tls throughout; an idle session then costs some
	// 50 KB instead of about one. What a way does not cover goes by the next:
	// "user", then "copy".
	DataPath DataPath `toml:"data_path" default:"auto" reload:"no"`

	// Logging, to standard error. SIGHUP changes the level.
	Log Log `toml:"log"`

	// Where operators and monitoring ask.
	Admin Admin `toml:"admin"`

	// Bounds of what strangers and back ends may cost. Where 0 is allowed it
	// means no limit. Defaults become smaller where sessions is.
	Limits Limits `toml:"limits"`

	// What becomes of those whose logins fail.
	Guard Guard `toml:"guard"`

	// How a user's name becomes the key of his place. Pins, placement and
	// limits use the key; the back end gets the name as the client wrote it,
	// because mechanisms such as SCRAM sign it.
	Users Users `toml:"users"`

	// Several ushers that place users together. Without it this node is alone.
	Fleet Fleet `toml:"fleet"`

	// Certificates that usher obtains from CAs by ACME (RFC 8555) and renews: how.
	// Which they are is said by names and on_demand of a [[certificate]].
	ACME ACME `toml:"acme"`

	// Certificates of all listeners that name none themselves. The client's
	// SNI chooses; the first is for clients without a match. Of several for one
	// name clients get the ECDSA one, old ones that of RSA. Renewed files are
	// taken up when they change. Each table is of exactly one kind: cert_file
	// with key_file, cert_dir, names or on_demand, imported.
	Certificates []Certificate `toml:"certificate"`

	// What usher listens on. At least one.
	Listeners []Listener `toml:"listener"`

	// Groups of back ends. At least one.
	Pools []Pool `toml:"pool"`

	source source // where each key was written
}

// Log is the [log] table.
type Log struct {
	// What is logged. "info" has one line for each session, at its end, and
	// one for each failed login.
	Level LogLevel `toml:"level" default:"info"`

	// Lines of key=value pairs, or JSON objects.
	Format LogFormat `toml:"format" default:"text" reload:"no"`

	// Failed logins are always told in the form of Dovecot's login processes,
	// "imap-login: Disconnected: Connection closed (auth failed, ...", so that
	// fail2ban knows them. With this, "dovecot: " comes before it, for filters
	// that ask for the daemon's name.
	DovecotPrefix bool `toml:"dovecot_prefix" default:"false" reload:"no"`
}

// Admin is the [admin] table.
type Admin struct {
	// Unix socket for `usher status`, `usher sessions` and `usher kick`. Empty:
	// none.
	Socket string `toml:"socket" default:"/run/usher/usher.sock" form:"path" reload:"no"`

	// Mode of the socket, octal. Who may write to it may end sessions.
	SocketMode fs.FileMode `toml:"socket_mode" default:"0600" reload:"no"`

	// Group that owns the socket, by name or number. Empty: the group of the
	// process.
	SocketGroup string `toml:"socket_group" default:"" form:"word" example:"usher" reload:"no"`

	// Address of /healthz, /readyz and /metrics, and of the dashboard at /, which names
	// no user there and gives no orders. Nobody has to log in, so it is a loopback
	// address by default. Empty: none.
	HTTP string `toml:"http" default:"127.0.0.1:9180" form:"listen" reload:"no"`

	// Address at which HAProxy's agent-check is answered: a line for each
	// connection, "up ready", "up drain" or "down" with the reason. Nobody has to
	// log in there. Empty: none.
	Agent string `toml:"agent" default:"" form:"listen" example:"127.0.0.1:9181" reload:"no"`

	// The API of the socket for other machines: over TCP with TLS, for who says by a token
	// or a certificate who he is.
	API API `toml:"api"`
}

// Limits is the [limits] table.
type Limits struct {
	// Sessions of all listeners together, logged in or not. One more is
	// answered that the server is busy, and closed. Each may need six
	// descriptors: two connections, and two pipes if both are plaintext.
	Sessions int `toml:"sessions" default:"50000" range:"1..10000000"`

	// Sessions of one user on this node, once he is logged in. One more is refused
	// with [LIMIT], which tells him that it is not his password. Three devices
	// with two programmes each need some 30.
	SessionsPerUser int `toml:"sessions_per_user" default:"200" range:"0.."`

	// Sessions of one client address (IPv6: of one /64), logged in or not. A
	// company may be behind one, and it has no limit then. Addresses in a listener's
	// trusted_networks and in guard.exempt_networks are not counted.
	SessionsPerAddress int `toml:"sessions_per_address" default:"0" range:"0.."`

	// Connections that have not logged in yet, of all listeners together. When
	// there are more, the oldest is closed of the address or network that has most
	// of them.
	Prelogin int `toml:"prelogin" default:"5000" range:"1.."`

	// Time from accept to a complete login, TLS handshakes included. Traffic
	// does not renew it.
	LoginTime time.Duration `toml:"login_time" default:"60s" range:"1s..180s" because:"nobody needs more, and a stranger holds a connection for that long"`

	// A logged-in session with no traffic in either direction for that long is
	// closed. Clients renew IDLE after 29 minutes.
	Idle time.Duration `toml:"idle" default:"35m" range:"31m..24h" because:"RFC 9051 §5.4 gives clients at least 30 minutes"`

	// Time of one TCP connect to a back end.
	DialTimeout time.Duration `toml:"dial_timeout" default:"5s" range:"100ms..1m"`

	// Connects to the same back end before a login is answered that it is
	// unavailable.
	DialTries int `toml:"dial_tries" default:"3" range:"1..10"`

	// Pause between two of them.
	DialWait time.Duration `toml:"dial_wait" default:"1s" range:"0s..30s"`

	// Time from the connection to a back end to its answer to the login: its
	// greeting, TLS, and what it needs to look up a user or to delay a wrong
	// password.
	BackendLoginTime time.Duration `toml:"backend_login_time" default:"30s" range:"1s..3m"`
}

// Users is the [users] table.
type Users struct {
	// Upper and lower case, A to Z, are the same user.
	LowerCase bool `toml:"lower_case" default:"true" reload:"no"`

	// Domain of names that have no @. Empty: they stay without.
	DefaultDomain string `toml:"default_domain" default:"" form:"domain" example:"example.org" reload:"no"`

	// Domain that is not part of the key, for sites where joe@example.org and
	// joe are one user. "*" is every domain. It begins at the first @.
	StripDomain string `toml:"strip_domain" default:"" form:"strip" example:"*" reload:"no"`
}
