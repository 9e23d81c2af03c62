package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// EventsPath lists the events of all nodes, or follows them: see Server.events.
const EventsPath = "/v1/events"

const (
	// defaultList is how many events an answer has, and maxList how many it may have:
	// what two nodes keep.
	defaultList = 200
	maxList     = 2 * maxEvents
)

// EventList is the answer of EventsPath.
type EventList struct {
	Events []Event `json:"events"` // the oldest first, by the clocks of their nodes
	// Missing tells of nodes that did not answer.
	Missing []string `json:"missing"`
	// Position is what Last-Event-ID takes to go on from here.
	Position string `json:"position"`
}

// A wish is what of the events somebody wants.
type wish struct {
	since time.Time
	limit int
	codes []string // none: all
	level string
	users bool
	from  position // nil: as since says
}

func (s *Server) eventRoutes(mux *router) {
	mux.Handle(EventsPath, only(http.MethodGet, s.events))
}

type withoutUsersKey struct{}

// WithoutUsers marks a question as one of somebody who may not see users' names.
func WithoutUsers(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutUsersKey{}, true)
}

// mayNameUsers says whether the answer to a question may name users.
func mayNameUsers(ctx context.Context) bool {
	no, _ := ctx.Value(withoutUsersKey{}).(bool)
	return !no && callerOf(ctx).Role.may(RoleOperate)
}

// events answers with a list, or with a stream to who accepts text/event-stream.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	o, ok := wished(w, r)
	if !ok {
		return
	}
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		s.follow(w, r, o)
		return
	}
	answer(w, s.listEvents(o))
}

// listEvents lists events of all nodes, the last ones if there are too many.
func (s *Server) listEvents(o wish) EventList {
	s.gathering.round(eventsFresh)
	return s.gatheredEvents(o)
}

// gatheredEvents lists what is known without a question to anybody.
func (s *Server) gatheredEvents(o wish) EventList {
	now := time.Now()
	if o.from == nil {
		o.from = make(position)
		o.from.begin(o.since) // all, if that is not said
	}
	o.from.begin(now)
	list, _, missing := s.gathering.after(o.from)
	list = o.pick(list)
	if o.from[startKey].Number == 0 {
		delete(o.from, startKey)
		o.from.begin(now) // who goes on from here has had what there was
	}
	return EventList{list[max(0, len(list)-o.limit):], append([]string{}, missing...), o.from.String()}
}

// RecentEvents are the last events of all nodes, the oldest first, without users' names;
// missing tells of nodes that did not answer.
func (s *Server) RecentEvents(limit int) (list []Event, missing []string) {
	l := s.listEvents(wish{limit: min(limit, maxList)})
	return l.Events, l.Missing
}

// pick is what is wanted of a list.
func (o wish) pick(list []Event) []Event {
	picked := []Event{}
	for _, ev := range list {
		if len(o.codes) > 0 && !slices.Contains(o.codes, ev.Code) || eventLevels[ev.Level] < eventLevels[o.level] {
			continue
		}
		if !o.users {
			ev = ev.WithoutUsers()
		}
		picked = append(picked, ev)
	}
	return picked
}

var eventLevels = map[string]int{"info": 0, "warn": 1, "error": 2}

// wished reads the parameters.
func wished(w http.ResponseWriter, r *http.Request) (o wish, ok bool) {
	q, ok := query(w, r, "since", "limit", "code", "level", "users")
	if !ok {
		return o, false
	}
	o = wish{limit: defaultList, level: "info", users: mayNameUsers(r.Context())}
	bad := func(what, next string) (wish, bool) {
		refuse(w, http.StatusBadRequest, what, next)
		return o, false
	}
	if text := q.Get("since"); text != "" {
		ago, err := time.ParseDuration(text)
		if err == nil && ago >= 0 {
			o.since = time.Now().Add(-ago)
		} else if o.since, err = time.Parse(time.RFC3339, text); err != nil {
			return bad("since is no time", "say how long ago, as 1h30m, or when, as 2026-01-31T12:00:00Z")
		}
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxList {
			return bad("limit is no number of events", fmt.Sprintf("say a number from 1 to %d", maxList))
		}
		o.limit = n
	}
	if text := q.Get("code"); text != "" {
		if len(text) > maxEventText {
			return bad("too many codes", "ask for all, or for fewer")
		}
		o.codes = strings.Split(text, ",")
	}
	if text := q.Get("level"); text != "" {
		if _, known := eventLevels[text]; !known {
			return bad("level is none of info, warn and error", "say the lowest that you want")
		}
		o.level = text
	}
	switch q.Get("users") {
	case "", "yes":
	case "no":
		o.users = false
	default:
		return bad("users is neither yes nor no", "say users=no to have no user named")
	}
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		var err error
		if o.from, err = parsePosition(text); err != nil {
			return bad("Last-Event-ID is no position: "+harmless(err.Error()), "send the last id that you got, or none")
		}
	}
	return o, true
}
