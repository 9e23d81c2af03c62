package config

import "time"

// Fleet is the [fleet] table.
type Fleet struct {
	// Name of the fleet, the same on all of its nodes. Empty: this node is alone, a
	// fleet of one, and of this table only state_dir, retention, kick_delay and flush count.
	Name string `toml:"name" default:"" form:"name" example:"mail" reload:"no"`

	// Name of this node, which no other node may have. Empty: the host's own name.
	Node string `toml:"node" default:"" form:"name" example:"usher1" reload:"no"`

	// File with the secret that all nodes share, as `usher fleet secret` makes it.
	// Whoever has it is a node: others must not be able to read it. SIGHUP reads the
	// content again; the path is what it was at the start.
	SecretFile string `toml:"secret_file" default:"" form:"path" example:"/etc/usher/fleet.secret" reload:"no"`

	// Where other nodes come in, by TCP and UDP: an address of this host, or a name
	// of it. Port 7946 where none is said. Without an address (":7946") it is every
	// address of the host, and advertise is needed.
	Bind string `toml:"bind" default:":7946" form:"peer" example:"192.0.2.1:7946" reload:"no"`

	// Address at which other nodes find this one, if that is not bind. The port is
	// bind's where none is said.
	Advertise string `toml:"advertise" default:"" form:"peer" example:"192.0.2.1" reload:"no"`

	// Other nodes to begin with, by name or address; a DNS name may have the
	// addresses of all. The port is bind's where none is said. Who is met once is
	// remembered, so that later starts do without.
	Join []string `toml:"join" default:"[]" form:"peer" example:"[\"usher2.example.org\", \"192.0.2.3\"]" reload:"no"`

	// Names of the nodes that vote: 1, 3 or 5, the same on all nodes. The fleet
	// decides as long as more than half of them see each other. Other nodes serve
	// as well and do not vote. Required where name is set.
	Voters []string `toml:"voters" default:"[]" form:"name" example:"[\"usher1\", \"usher2\", \"usher3\"]" reload:"no"`

	// What a node does that has lost the others. "serve": it goes on placing users
	// by what it last knew, and a user may for a while be on two back ends. "refuse":
	// it takes no logins and stops forwarding, so that nobody ever is; for that the
	// data path must not be "copy".
	WhenIsolated WhenIsolated `toml:"when_isolated" default:"serve" reload:"no"`

	// Directory of what makes this node what it is: its votes and the table, and so
	// pins and what administrators have set. A node that loses it is a new one. Empty:
	// the one that systemd gives (StateDirectory=), else /var/lib/usher; a node that is
	// alone and has neither keeps all of that in memory, and says so.
	StateDir string `toml:"state_dir" default:"" form:"path" example:"/var/lib/usher" reload:"no"`

	// How long a user stays on his back end after his last session has ended. At
	// least kick_delay.
	Retention time.Duration `toml:"retention" default:"15m" range:"1s..24h" reload:"no"`

	// What a back end may need to finish with a user whose connections were closed,
	// before another back end may have him.
	KickDelay time.Duration `toml:"kick_delay" default:"2s" range:"0s..1m" reload:"no"`

	// Program, by its path, and its arguments, that the leader runs for a user who is
	// moved, when his connections are closed and kick_delay is over, before he is let
	// in elsewhere; to write back and drop what his old back end has in its caches. No
	// shell is between. USHER_USER, USHER_POOL, USHER_FROM, USHER_TO and USHER_BY tell
	// it what it is about; USHER_FROM is empty where nobody knows. It has 5 seconds.
	// If it fails, that is logged, and he is moved nevertheless. The same on all nodes
	// that vote.
	Flush []string `toml:"flush" default:"[]" form:"argument" example:"[\"/usr/local/sbin/flush-user\"]" reload:"no"`
}

// DefaultFleetPort is where nodes meet unless somebody says otherwise: the port of
// memberlist.
const DefaultFleetPort = "7946"
