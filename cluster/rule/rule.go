// Package rule names the rules that the promise of a fleet rests on: one user, one
// back end. Each is a place in the code of packages table, member and lead where
// leaving it out would break the promise, and package sim shows that it would.
//
// It is for them only. Law: outside of tests every rule is kept.
package rule

import "strconv"

// A Rule is one of the rules.
type Rule uint8

// The rules, in the order of the design (cluster/DESIGN.md).
const (
	HoldInChange    Rule = iota // while a view is prepared, users with two places are held
	HoldInMove                  // while a user is moved he is held
	HoldUnconfirmed             // a stay that nobody has confirmed yet is no place of the next view
	WaitForAll                  // changes and moves wait for every counted node
	WaitOutLease                // a node that is gone is waited for until its lease must be over
	LoginIsRecord               // a login on its way counts as a session
	ClosingIsRecord             // a connection that is being closed counts until it is
	SeenIsRecord                // who was here lately counts
	ReadyAfterStays             // a node is ready when its stays are in the table
	ReadyAfterClose             // and its closes are done
	ClearAfterClose             // a node has cleared a user when his connections are closed
	ClearSaysHad                // and says whether he was here
	StayIsPlace                 // a stay is accepted only where the user's place is
	EpochInCommands             // commands of a change name its epoch
	NumberInMoves               // commands of a move name its number
	LifeInCommands              // commands of a node name its life
	NewLife                     // a node that was isolated needs a new life
	ReadyDies                   // Ready is forgotten with the life that said it
	EnterAfterEnd               // a life enters when no other of its node is counted
	LeaseAfterEnter             // a lease is used after misfits were closed
	CheckLease                  // the lease is looked at before credentials are sent
	KickDelay                   // a back end gets time to finish what it had received
	LongWait                    // the leader waits longer than a lease lasts
	WaitAtElection              // a new leader does not know what the last one granted
	GrantInLog                  // grants go through the log
	LeaseFromReport             // a lease begins when the report was sent, not when it was granted
	KeysOfLogins                // a login is placed by a key of the present settings
	OldKeysClose                // what is live under old keys is closed before the lease
	CloseForKeys                // everybody is closed before keys change
	HoldListed                  // who is pinned elsewhere by a file that comes has two places
	Rules                       // their number
)

var names = [Rules]string{
	"hold-in-change", "hold-in-move", "hold-unconfirmed", "wait-for-all", "wait-out-lease", "login-is-record",
	"closing-is-record", "seen-is-record", "ready-after-stays", "ready-after-close", "clear-after-close", "clear-says-had",
	"stay-is-place", "epoch-in-commands", "number-in-moves", "life-in-commands", "new-life", "ready-dies", "enter-after-end",
	"lease-after-enter", "check-lease", "kick-delay", "long-wait", "wait-at-election", "grant-in-log", "lease-from-report",
	"keys-of-logins", "old-keys-close", "close-for-keys", "hold-listed",
}

// String returns the rule's name.
func (r Rule) String() string {
	if r < Rules {
		return names[r]
	}
	return "rule " + strconv.Itoa(int(r))
}

// A Broken is a set of rules that are not kept. The zero value keeps all.
type Broken uint32

// Break returns b with a rule more that is not kept. It is for tests.
func (b Broken) Break(r Rule) Broken { return b | 1<<r }

// Kept says that a rule is kept.
func (b Broken) Kept(r Rule) bool { return b&(1<<r) == 0 }
