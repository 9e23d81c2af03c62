package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"usher.example/cluster/place"
)

// A Command is an entry of the log. What a node sends names its life, what a
// leader decides names the raft term in which its waits began; both name what they
// are about, so that a late or double one does nothing.
type Command interface {
	kind() string
	apply(t *Table, term uint64) error
}

// Commands of nodes.
type (
	// Join makes a member known, or tells of a new state directory or address. A
	// new directory is accepted when no life of the old one is counted.
	Join struct {
		Node    string `json:"node"`
		Dir     string `json:"dir"`
		Address string `json:"address"`
		Witness bool   `json:"witness,omitempty"`
	}
	// Enter begins a life: from then on changes and moves wait for the node.
	Enter struct {
		Node string `json:"node"`
		Dir  string `json:"dir"`
		Life uint64 `json:"life"`
	}
	// AddStay keeps users where they are over a change of view. It is accepted
	// user by user; see Table.MayStay.
	AddStay struct {
		Node  string `json:"node"`
		Life  uint64 `json:"life"`
		Pool  string `json:"pool"`
		Epoch uint64 `json:"epoch"` // that is prepared
		Users Users  `json:"users"`
	}
	// Ready: the node has no user left whom the change would put elsewhere.
	Ready struct {
		Node  string `json:"node"`
		Life  uint64 `json:"life"`
		Pool  string `json:"pool"`
		Epoch uint64 `json:"epoch"`
	}
	// Clear: the node has no connection left of a user who is moved.
	Clear struct {
		Node   string `json:"node"`
		Life   uint64 `json:"life"`
		Number uint64 `json:"number"`
		Had    bool   `json:"had"`
	}
)

// Commands of the leader.
type (
	// Grant tells nodes which reports the leader has got.
	Grant struct {
		Term  uint64    `json:"term"`
		Nodes []Granted `json:"nodes"`
	}
	// Granted is the newest report of a node's life.
	Granted struct {
		Node   string `json:"node"`
		Life   uint64 `json:"life"`
		Report uint64 `json:"report"`
	}
	// Expire ends a life that cannot have a lease any more.
	Expire struct {
		Term uint64 `json:"term"`
		Node string `json:"node"`
		Life uint64 `json:"life"`
		// Owes: it was granted no lease as it owed something for too long.
		Owes bool `json:"owes,omitempty"`
	}
	// Prepare begins a change of view.
	Prepare struct {
		Term  uint64     `json:"term"`
		Pool  string     `json:"pool"`
		Epoch uint64     `json:"epoch"` // the present one
		View  []Standing `json:"view"`
		All   bool       `json:"all,omitempty"`
		// List is the mark of a whole List that comes into force with the view.
		List string `json:"list,omitempty"`
	}
	// Standing is a back end in a view.
	Standing struct {
		ID     uint16      `json:"id"`
		Weight int         `json:"weight"`
		State  place.State `json:"state"`
	}
	// Activate ends a change of view.
	Activate struct {
		Term  uint64 `json:"term"`
		Pool  string `json:"pool"`
		Epoch uint64 `json:"epoch"` // that was prepared
		// Enters is Table.Enters when the wait began: whoever entered since may
		// have closed connections since.
		Enters uint64 `json:"enters"`
	}
	// Placed ends a move.
	Placed struct {
		Term   uint64 `json:"term"`
		Number uint64 `json:"number"`
		Enters uint64 `json:"enters"` // as in Activate
	}
	// Verdict says which back ends of a pool are up.
	Verdict struct {
		Term uint64          `json:"term"`
		Pool string          `json:"pool"`
		Up   map[uint16]bool `json:"up"`
		At   int64           `json:"at"`
	}
	// Define says what the configuration has.
	Define struct {
		Term     uint64    `json:"term"`
		Settings *Settings `json:"settings,omitempty"`
		Pools    []Defined `json:"pools"`
		At       int64     `json:"at"`
	}
	// Defined is a pool of the configuration.
	Defined struct {
		Name     string        `json:"name"`
		Storage  place.Storage `json:"storage"`
		Backends []Server      `json:"backends"`
	}
	// Server is a back end of the configuration.
	Server struct {
		Name    string `json:"name"`
		Address string `json:"address"`
		Weight  int    `json:"weight"`
		// Down: the leader does not reach it; it is heard if the back end is new.
		Down bool `json:"down,omitempty"`
	}
)

// Commands of administrators.
type (
	// Adjust changes a back end until the next Adjust. Nil is no change; a Weight
	// below zero takes an override back.
	Adjust struct {
		Pool    string `json:"pool"`
		Backend string `json:"backend"`
		Admin   *Admin `json:"admin,omitempty"`
		Weight  *int   `json:"weight,omitempty"`
		By      string `json:"by"`
		At      int64  `json:"at"`
	}
	// Start begins a move.
	Start struct {
		Pool   string    `json:"pool"`
		Key    place.Key `json:"key"`
		Keys   int       `json:"keys,omitempty"` // Settings.Keys that it was made with
		User   string    `json:"user,omitempty"`
		Target string    `json:"target,omitempty"`
		Pin    PinChange `json:"pin"`
		By     string    `json:"by"`
	}
	// Forget removes a member that is not counted.
	Forget struct {
		Node string `json:"node"`
	}
)

func (Join) kind() string     { return "join" }
func (Enter) kind() string    { return "enter" }
func (AddStay) kind() string  { return "stay" }
func (Ready) kind() string    { return "ready" }
func (Clear) kind() string    { return "clear" }
func (Grant) kind() string    { return "grant" }
func (Expire) kind() string   { return "expire" }
func (Prepare) kind() string  { return "prepare" }
func (Activate) kind() string { return "activate" }
func (Placed) kind() string   { return "placed" }
func (Verdict) kind() string  { return "verdict" }
func (Define) kind() string   { return "define" }
func (Adjust) kind() string   { return "adjust" }
func (Start) kind() string    { return "start" }
func (Forget) kind() string   { return "forget" }

// An envelope is a Command on the wire.
type envelope struct {
	Version int             `json:"v"`
	Kind    string          `json:"k"`
	Command json.RawMessage `json:"c"`
}

// MaxCommand bounds a command in octets: a batch of stays is the largest.
const MaxCommand = 1 << 20

// ErrUnknown: the command is of another version or kind than this program knows.
// Its node must not go on: its table would differ from the others'.
var ErrUnknown = errors.New("a command that this version does not know")

// Encode writes a command.
func Encode(c Command) []byte {
	body, err := json.Marshal(c)
	if err == nil {
		body, err = json.Marshal(envelope{Version, c.kind(), body})
	}
	if err != nil {
		panic(fmt.Sprintf("table: a command that is not JSON: %v", err)) // plain structs: cannot be
	}
	return body
}

// Decode reads a command. It refuses what it does not know exactly.
func Decode(b []byte) (Command, error) {
	if len(b) > MaxCommand {
		return nil, fmt.Errorf("a command of %d octets, at most %d are possible", len(b), MaxCommand)
	}
	var e envelope
	if err := strict(b, &e); err != nil {
		return nil, err
	}
	if e.Version != Version {
		return nil, fmt.Errorf("%w: version %d, not %d", ErrUnknown, e.Version, Version)
	}
	parse := parsers[e.Kind]
	if parse == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknown, e.Kind)
	}
	return parse(e.Command)
}

var parsers = map[string]func([]byte) (Command, error){
	"join": parse[Join], "enter": parse[Enter], "stay": parse[AddStay], "ready": parse[Ready], "clear": parse[Clear],
	"grant": parse[Grant], "expire": parse[Expire], "prepare": parse[Prepare], "activate": parse[Activate],
	"placed": parse[Placed], "verdict": parse[Verdict], "define": parse[Define], "adjust": parse[Adjust],
	"start": parse[Start], "forget": parse[Forget], "stage": parse[Stage],
	"turn": parse[Turn], "reseal tickets": parse[ResealTickets],
	"settle": parse[Settle], "rekey": parse[Rekey], "settled": parse[Settled],
	"put": parse[Put], "remove": parse[Remove], "reseal": parse[Reseal],
	"take": parse[Take], "renew": parse[Renew], "drop": parse[Drop], "break": parse[Break],
}

func parse[C Command](b []byte) (Command, error) {
	var c C
	err := strict(b, &c)
	if err == nil {
		err = known(c)
	}
	return c, err
}

// known refuses settings by which this program cannot place users.
func known(c Command) error {
	var s *Settings
	switch c := c.(type) {
	case Define:
		s = c.Settings
	case Settle:
		s = c.Settings
	default:
	}
	if s != nil && s.Place > place.Version {
		return fmt.Errorf("%w: placement of version %d, not %d", ErrUnknown, s.Place, place.Version)
	}
	return nil
}

func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows it", ErrUnknown)
	}
	return nil
}
