package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"usher.example/cluster"
)

// EventPeers are the other nodes, as far as their events go: a cluster.Fleet.
type EventPeers interface {
	// Name is this node's own.
	Name() string
	// Events asks the others and calls got for each answer, one at a time. The error
	// names those that did not answer.
	Events(question json.RawMessage, got func(node string, answer json.RawMessage)) error
}

const (
	// eventsEvery is the time between two questions to the other nodes while somebody
	// follows; eventsFresh is how old an answer may be for who asks once.
	eventsEvery = time.Second
	eventsFresh = 300 * time.Millisecond
	// eventsPage is about what one answer to another node has, in octets: half of what
	// it takes, as JSON may escape.
	eventsPage = cluster.MaxAnswer / 2
	// eventsPages bounds the questions of a round: a full ring of the longest events.
	eventsPages = 32
	// maxMirrors bounds the nodes whose events are kept here: more than a fleet has.
	maxMirrors = 256
	// maxPosition bounds a written position, in octets: it is a header of a question.
	maxPosition = 12 << 10
)

// A position is how far somebody has read, by node.
type position map[string]mark

// String is a position's form in Last-Event-ID: node:run:number, with commas.
func (p position) String() string {
	nodes := make([]string, 0, len(p))
	for node, m := range p {
		nodes = append(nodes, url.QueryEscape(node)+":"+m.Run+":"+strconv.FormatUint(m.Number, 10))
	}
	slices.Sort(nodes)
	return strings.Join(nodes, ",")
}

// parsePosition reads what String wrote.
func parsePosition(s string) (position, error) {
	if len(s) > maxPosition {
		return nil, errors.New("a position is not as long")
	}
	p := make(position)
	if s == "" {
		return p, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		words := strings.Split(part, ":")
		if len(words) != 3 || shortName(words[1]) != words[1] {
			return nil, fmt.Errorf("%q is no position of a node", part)
		}
		node, err := url.QueryUnescape(words[0])
		if err != nil {
			return nil, err
		}
		number, err := strconv.ParseUint(words[2], 10, 64)
		if err != nil {
			return nil, err
		}
		p[node] = mark{words[1], number}
	}
	return p, nil
}

// An eventQuestion is what a node asks another.
type eventQuestion struct {
	Node string   `json:"node"` // who is meant
	From position `json:"from"`
}

// An eventAnswer is what it says.
type eventAnswer struct {
	Run    string  `json:"run"`
	Events []Event `json:"events"`
	More   bool    `json:"more,omitempty"` // than go into one answer
}

// Answer answers another node. It is what cluster.FleetOptions.Events takes, for the
// node of that name.
func (e *Events) Answer(node string) func(json.RawMessage) (json.RawMessage, error) {
	return func(question json.RawMessage) (json.RawMessage, error) {
		var q eventQuestion
		if err := json.Unmarshal(question, &q); err != nil {
			return nil, err
		}
		list, _, _ := e.after(q.From[node])
		a := eventAnswer{Run: e.run, Events: []Event{}}
		size := 0
		for _, ev := range list {
			b, err := json.Marshal(ev)
			if err != nil {
				continue // a number that is none
			}
			if size += len(b); size > eventsPage {
				a.More = true
				break
			}
			a.Events = append(a.Events, ev)
		}
		return json.Marshal(a)
	}
}

// A gathering has what is known of the events of all nodes. Nobody asks them unless
// somebody here wants to know.
type gathering struct {
	own   *Events
	peers EventPeers // nil: there are none

	asking sync.Mutex // one round at a time
	asked  time.Time

	mu      sync.Mutex // guards what follows
	mirrors map[string]*Events
	missing []string
	changed chan struct{} // closed with the next answer that has something new
	// refreshing is closed when the question ends that is under way for boards; nil: none is.
	refreshing chan struct{}
}

func newGathering(own *Events, peers EventPeers) *gathering {
	return &gathering{own: own, peers: peers, mirrors: make(map[string]*Events), changed: make(chan struct{})}
}

// name is this node's.
func (g *gathering) name() string {
	if g.peers == nil {
		return ""
	}
	return g.peers.Name()
}

// round asks the others, unless that was done lately.
func (g *gathering) round(lately time.Duration) {
	if g.peers == nil {
		return
	}
	g.asking.Lock()
	defer g.asking.Unlock()
	if time.Since(g.asked) < lately {
		return
	}
	for range eventsPages {
		g.mu.Lock()
		q := eventQuestion{From: make(position)}
		for node, m := range g.mirrors {
			_, at, _ := m.after(mark{m.run, ^uint64(0)})
			q.From[node] = at
		}
		g.mu.Unlock()
		more := false
		question, _ := json.Marshal(q) // plain values: never fails
		err := g.peers.Events(question, func(node string, answer json.RawMessage) {
			more = g.got(node, answer) || more
		})
		g.mu.Lock()
		if now := missing(err); !slices.Equal(now, g.missing) {
			g.missing = now
			g.news()
		}
		g.mu.Unlock()
		if !more {
			break
		}
	}
	g.asked = time.Now()
}

// got takes an answer and says whether there is more. What a node says is believed of
// itself only, and bounded like what is our own.
func (g *gathering) got(node string, answer json.RawMessage) (more bool) {
	var a eventAnswer
	if json.Unmarshal(answer, &a) != nil || shortName(a.Run) == "" {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.mirrors[node]
	if m == nil || m.run != a.Run {
		if m == nil && len(g.mirrors) >= maxMirrors {
			return false
		}
		m = newMirror(a.Run)
		g.mirrors[node] = m
	}
	m.mu.Lock()
	took := false
	for _, ev := range a.Events {
		if ev.clean(); ev.Number <= m.last || ev.Code == "" {
			continue
		}
		ev.Node, ev.Run, took = node, a.Run, true
		m.add(ev)
	}
	m.mu.Unlock()
	if took {
		g.news()
	}
	return a.More && took
}

// news wakes who follows. It is called with mu held.
func (g *gathering) news() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// next are closed when there may be something new.
func (g *gathering) next() (own, others <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.own.next(), g.changed
}

// after lists the events of all nodes after a position, by time, and moves the position
// on. Of a node that is not in it those since a moment are listed. Lost counts those
// that came after it and are no more there.
func (g *gathering) after(p position, since time.Time) (list []Event, lost uint64, missing []string) {
	g.mu.Lock()
	sources := map[string]*Events{g.name(): g.own}
	for node, m := range g.mirrors {
		if node != g.name() {
			sources[node] = m
		}
	}
	missing = slices.Clone(g.missing)
	g.mu.Unlock()
	for node, from := range sources {
		at, known := p[node]
		of, now, gone := from.after(at)
		for _, ev := range of {
			if known || !ev.Time.Before(since) {
				ev.Node = node
				list = append(list, ev)
			}
		}
		p[node] = now
		lost += gone
	}
	slices.SortStableFunc(list, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return list, lost, missing
}
