package certs

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	// urgent is how long before its end a certificate that was not renewed is
	// an operator's matter: every client would do its renewal before.
	urgent = 7 * 24 * time.Hour

	// urgentPart is the part of a short life, below three times urgent, that
	// counts instead.
	urgentPart = 3

	// remindEvery is the time between two looks for those.
	remindEvery = time.Hour

	// remindAgain is the time between two warnings of one certificate.
	remindAgain = 24 * time.Hour

	day = 24 * time.Hour
)

// name is what a certificate is called in a line.
func (s *Status) name() string {
	if len(s.Names) > 0 {
		return s.Names[0]
	}
	return s.From
}

// ending reports whether the certificate ends soon, or has.
func (s *Status) ending(now time.Time) bool {
	return !s.NotAfter.IsZero() && s.NotAfter.Sub(now) < min(urgent, s.NotAfter.Sub(s.NotBefore)/urgentPart)
}

// Current reports whether there is a certificate that is neither expired nor of the
// future.
func (s *Status) Current(now time.Time) bool {
	return !now.Before(s.NotBefore) && now.Before(s.NotAfter)
}

// dated is what is wrong with the dates of a certificate; empty if nothing is.
func dated(s *Status, now time.Time) string {
	switch {
	case s.NotAfter.IsZero():
		return ""
	case now.Before(s.NotBefore):
		return "it is not valid before " + utc(s.NotBefore) + ": wait until then"
	case !now.Before(s.NotAfter):
		return "it has expired at " + utc(s.NotAfter) + ": renew it, or see whether the clock of this host is right"
	}
	return ""
}

func utc(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

// doubtClock says what it may mean that all certificates are of the future.
func doubtClock(list []Status, now time.Time) {
	there := 0
	for i := range list {
		if list[i].NotBefore.IsZero() {
			continue
		}
		if there++; !now.Before(list[i].NotBefore) {
			return
		}
	}
	for i := range list {
		if there > 0 && !list[i].NotBefore.IsZero() {
			list[i].Problem = fmt.Sprintf("it is not valid before %s, nor is any other, and the clock of this host says %s: see whether the clock is right",
				utc(list[i].NotBefore), utc(now))
		}
	}
}

// lasts is how long a certificate is good, for people; whole days are rounded
// down, so that nobody relies on one that is not there.
func lasts(s *Status, now time.Time) string {
	left := s.NotAfter.Sub(now)
	switch {
	case now.Before(s.NotBefore):
		return "is not valid before " + utc(s.NotBefore)
	case left <= 0:
		return "has expired"
	case left < 2*day:
		return fmt.Sprintf("expires in %d h", int(math.Floor(left.Hours())))
	default:
		return fmt.Sprintf("expires in %d d", left/day)
	}
}

// Degraded says which certificates end soon, have, or are not valid yet, without
// another of the same kind being there for all of their names on the same listeners: a line
// each, such as "certificate mail.example.org expires in 3 d", and none twice.
func (k *Keeper) Degraded() []string {
	var lines []string
	now := time.Now()
	for _, s := range endingSoon(k.List(), now) {
		lines = append(lines, "certificate "+shown(s.name())+" "+lasts(&s, now))
	}
	return slices.Compact(lines)
}

// endingSoon are those of a list that end soon, have, or are of the future, and that
// nothing replaces.
func endingSoon(list []Status, now time.Time) []Status {
	var soon []Status
	for i := range list {
		s := &list[i]
		if (s.ending(now) || now.Before(s.NotBefore)) && !slices.ContainsFunc(list, func(o Status) bool { return o.replaces(s, now) }) {
			soon = append(soon, *s)
		}
	}
	return soon
}

// replaces reports whether s does all that o does, and for long enough.
func (s *Status) replaces(o *Status, now time.Time) bool {
	if s.NotAfter.IsZero() || s.ending(now) || now.Before(s.NotBefore) || algorithm(s.Key) != algorithm(o.Key) {
		return false
	}
	for _, l := range o.Listeners {
		if !slices.Contains(s.Listeners, l) {
			return false
		}
	}
	return coversAll(s.Names, o.Names)
}

func algorithm(key string) string {
	name, _, _ := strings.Cut(key, " ")
	return name
}

// remind warns of certificates that end soon, at once and once a day.
func (k *Keeper) remind(ctx context.Context) {
	tick := time.NewTicker(remindEvery)
	defer tick.Stop()
	for {
		k.warn(time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (k *Keeper) warn(now time.Time) {
	soon := endingSoon(k.List(), now)
	k.mu.Lock()
	defer k.mu.Unlock()
	told := make(map[string]time.Time)
	for _, s := range soon {
		if last, ok := k.told[s.ID]; ok && now.Sub(last) < remindAgain {
			told[s.ID] = last
			continue
		}
		told[s.ID] = now
		message := "a certificate ends soon: see why it was not renewed"
		switch {
		case now.Before(s.NotBefore):
			message = "a certificate is not valid yet: see whether the clock of this host is right"
		case !s.Current(now):
			message = "a certificate has expired and is shown for want of a better one: renew it, or see whether the clock of this host is right"
		}
		k.options.Log.Warn(message, "event", "certificate_expiring", "certificate", s.name(), "listeners", strings.Join(s.Listeners, " "),
			"from", s.From, "key", s.Key, "not_after", s.NotAfter, "left", lasts(&s, now), "problem", cmp.Or(s.Problem, "none is known"))
	}
	k.told = told
}
