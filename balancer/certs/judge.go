package certs

import (
	"slices"
	"time"
)

// judge says of each certificate whether it is time that somebody looks why it was
// not renewed, which is nobody's business where another one replaces it.
func judge(list []Status, now time.Time) {
	for i := range list {
		s := &list[i]
		s.Ending = s.ending(now) && !slices.ContainsFunc(list, func(o Status) bool { return o.replaces(s, now) })
	}
}
