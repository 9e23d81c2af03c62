package admin

import "time"

// BoardPath is where the dashboard's data is: as server-sent events, one Board
// each, or with Accept: application/json one Board.
const BoardPath = "/v1/board"

// Roles of those who look.
const (
	roleLooks  = "read"
	roleOrders = "operate"
)

// A Board is the whole fleet at one moment, as one node sees it. No user is named.
type Board struct {
	Time    time.Time `json:"time"`
	Every   float64   `json:"every_seconds"` // between two of a stream
	Node    string    `json:"node"`          // that answers
	Version string    `json:"version"`       // of that node
	Role    string    `json:"role"`          // of who looks: read or operate
	// Alarms are what an operator has to know, the worst first; none: all is well.
	Alarms       []BoardAlarm       `json:"alarms"`
	Fleet        BoardFleet         `json:"fleet"`
	Totals       BoardTotals        `json:"totals"`
	Nodes        []BoardNode        `json:"nodes"`
	Pools        []BoardPool        `json:"pools"`
	Backends     []BoardBackend     `json:"backends"`
	Certificates []BoardCertificate `json:"certificates"`
	// Events are the last, newest first. Null: nobody keeps them.
	Events []BoardEvent `json:"events"`
}

// Levels of a BoardAlarm.
const (
	LevelCritical = "critical" // users are hurt, or will be by one more failure
	LevelWarning  = "warning"  // something does not work
	LevelNotice   = "notice"   // somebody has wanted it so, or it passes by itself
)

// A BoardAlarm is one thing that is not as on a quiet day.
type BoardAlarm struct {
	Level string `json:"level"`
	// About is the part of the page: fleet, nodes, backends, or certificates.
	About string `json:"about"`
	Text  string `json:"text"`
}

// BoardFleet is what the nodes have in common.
type BoardFleet struct {
	Name     string   `json:"name"` // empty: one node alone
	Leader   string   `json:"leader"`
	Quorum   bool     `json:"quorum"`
	Isolated bool     `json:"isolated"`       // the node that answers
	Missing  []string `json:"missing_voters"` // that it does not see
	Changes  []string `json:"changes"`        // pools whose view is changing
	Moves    int      `json:"moves"`          // users on their way
	Pins     int      `json:"pins"`
	Error    string   `json:"error,omitempty"`
}

// BoardTotals are sums over the nodes that answer. A rate is null until there have
// been two looks.
type BoardTotals struct {
	NodesReady int      `json:"nodes_ready"`
	Nodes      int      `json:"nodes"` // that should serve
	BackendsUp int      `json:"backends_up"`
	Backends   int      `json:"backends"`
	Users      int      `json:"users"` // live; one on two nodes counts twice
	Sessions   int      `json:"sessions"`
	Logins     *float64 `json:"logins_per_second"`
	Failures   *float64 `json:"failures_per_second"` // logins refused or failed
}

// States of a BoardNode.
const (
	NodeReady    = "ready"
	NodeDegraded = "degraded" // serves, and something is wrong
	NodeDraining = "draining" // by an administrator, or it is being stopped
	NodeUnready  = "unready"
	NodeSilent   = "silent" // seen by gossip, did not answer
	NodeAbsent   = "absent" // not seen
	NodeWitness  = "votes"  // serves nobody
)

// A BoardNode is one node. What it has told itself is of Age seconds ago.
type BoardNode struct {
	Name    string   `json:"name"`
	Address string   `json:"address,omitempty"`
	Role    string   `json:"role"` // voter, witness or member
	Leads   bool     `json:"leads"`
	State   string   `json:"state"`
	Drained bool     `json:"drained"` // an administrator wants it to get no new clients
	Reasons []string `json:"reasons"` // of the state, in words
	// Age is how old the rest is, in seconds. Null: it has never been heard.
	Age      *float64 `json:"age_seconds"`
	Version  string   `json:"version,omitempty"`
	Uptime   float64  `json:"uptime_seconds,omitempty"`
	Sessions int      `json:"sessions"`
	Users    int      `json:"users"`
	Prelogin int      `json:"prelogin"`
	Logins   *float64 `json:"logins_per_second"`
	Failures *float64 `json:"failures_per_second"`
	CPU      *float64 `json:"cpu"`              // processors in use
	Memory   uint64   `json:"memory,omitempty"` // octets, resident
	Files    int      `json:"files,omitempty"`  // descriptors; 0: unknown
	MaxFiles int      `json:"max_files,omitempty"`
}

// BoardPool is one pool.
type BoardPool struct {
	Name    string `json:"name"`
	Storage string `json:"storage"`
	Usable  int    `json:"usable"` // back ends that logins are sent to
}

// BoardBackend is one back end over all nodes.
type BoardBackend struct {
	Pool     string   `json:"pool"`
	Name     string   `json:"name"`
	Address  string   `json:"address,omitempty"`
	Admin    string   `json:"admin"`           // active, drain, evacuate or down
	State    string   `json:"state"`           // as cluster.FleetBackend.State
	Up       bool     `json:"up"`              // by the health that most nodes see
	Since    float64  `json:"since,omitempty"` // of an administrator's change, Unix seconds
	By       string   `json:"by,omitempty"`    // for who may give orders
	Changing bool     `json:"changing"`        // nodes are being brought in line
	Weight   int      `json:"weight"`
	Override bool     `json:"override"`           // the weight is an administrator's
	Share    float64  `json:"share"`              // of the pool's users, 0 to 1
	Due      float64  `json:"due"`                // its part of the weights of those that take users
	Errors   []string `json:"errors"`             // of probes, by node
	DownFor  *float64 `json:"down_for,omitempty"` // seconds since the first node saw it fall
	Damped   bool     `json:"damped"`             // it answers well and is kept out since it fell too often
	Users    int      `json:"users"`
	Sessions int      `json:"sessions"`
	Logins   *float64 `json:"logins_per_second"`
	Failures *float64 `json:"failures_per_second"` // dials and logins that failed by its fault
	// Connect are quantiles of the time until a connection was ready, in milliseconds,
	// as upper bounds of the histogram's buckets; null: none in the last half minute.
	ConnectP50 *float64 `json:"connect_p50_ms"`
	ConnectP95 *float64 `json:"connect_p95_ms"`

	by string
}

// BoardCertificate is a certificate that clients are shown.
type BoardCertificate struct {
	ID        string    `json:"id"`
	Names     []string  `json:"names"` // the first of them
	More      int       `json:"more"`  // names that are left out
	Listeners []string  `json:"listeners"`
	Source    string    `json:"source"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	Ending    bool      `json:"ending"` // soon, and nothing replaces it
	Problem   string    `json:"problem,omitempty"`
	Nodes     []string  `json:"nodes"` // that show it
}

// A BoardEvent is something that happened, without the name of a user.
type BoardEvent struct {
	Time  time.Time `json:"time"`
	Node  string    `json:"node,omitempty"`
	Level string    `json:"level"` // LevelNotice, LevelWarning or LevelCritical
	Code  string    `json:"code"`
	Text  string    `json:"text"`
}
