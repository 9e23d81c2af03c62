package scenario

import (
	"math/rand/v2"
	"slices"
	"time"
)

// The day of a user, in an hour of his. Half of the users read on a phone: it
// idles, shows a new message of 8 KB now and then, and logs in anew when it
// changes networks. A third sits at a desk: the program polls every five minutes,
// fetches messages of 50 KB, stores a sent one, and is restarted every two hours.
// The rest fetches by POP3 every ten minutes. The intervals are means, spread by a
// half either way; nobody is in step with anybody.
//
// They are the author's estimate of an ordinary site, not a measurement of one;
// what counts is that every target gets the very same.
const (
	phoneShare = 0.50
	deskShare  = 0.35

	phoneLogin = 15 * time.Minute
	phoneFetch = 10 * time.Minute
	phoneNoop  = 15 * time.Minute
	deskLogin  = 2 * time.Hour
	deskNoop   = 5 * time.Minute
	deskFetch  = 10 * time.Minute
	deskStore  = time.Hour
	popVisit   = 10 * time.Minute

	phoneOctets = 8 << 10
	deskOctets  = 50 << 10
	popOctets   = 20 << 10

	// warmUp is how many intervals lie before the hour.
	warmUp = 8
)

// An action is what a user does.
type action uint8

// The actions. Those in a session end its IDLE, and begin a new one.
const (
	login action = iota // anew, after leaving
	noop
	fetch
	store
	visitPOP // a whole session: log in, look, fetch, quit
)

// An event is one action of one user.
type event struct {
	at     time.Duration // from the beginning, in the day's time
	user   int
	action action
	octets int64
}

// A schedule is what all users do in one hour, each in his own order.
type schedule [][]event

// newSchedule draws it: the same seed gives the same schedule.
func newSchedule(seed uint64, users int) schedule {
	s := make(schedule, users)
	for i := range s {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		every := func(mean time.Duration, a action, octets int64) {
			// It began long before, or the first interval would be unlike the others.
			at := time.Duration(random.Int64N(int64(mean))) - warmUp*mean
			for at < time.Hour {
				if at >= 0 {
					s[i] = append(s[i], event{at, i, a, octets})
				}
				at += mean/2 + time.Duration(random.Int64N(int64(mean)))
			}
		}
		switch share := float64(i) / float64(users); {
		case share < phoneShare:
			every(phoneLogin, login, 0)
			every(phoneFetch, fetch, phoneOctets)
			every(phoneNoop, noop, 0)
		case share < phoneShare+deskShare:
			every(deskLogin, login, 0)
			every(deskNoop, noop, 0)
			every(deskFetch, fetch, deskOctets)
			every(deskStore, store, deskOctets)
		default:
			every(popVisit, visitPOP, popOctets)
		}
		slices.SortStableFunc(s[i], func(a, b event) int { return int(a.at - b.at) })
	}
	return s
}

// imap reports whether a user has a session of IMAP all day.
func (s schedule) imap(user int) bool {
	return len(s[user]) > 0 && s[user][0].action != visitPOP
}

// held is how many users have a session of IMAP all day.
func (s schedule) held() (n int) {
	for i := range s {
		if s.imap(i) {
			n++
		}
	}
	return n
}

// count is how many events there are of those actions.
func (s schedule) count(actions ...action) (n int) {
	for _, events := range s {
		for _, e := range events {
			if slices.Contains(actions, e.action) {
				n++
			}
		}
	}
	return n
}
