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
	// Events asks the others, or those of them that only names, if it is not nil, and
	// calls got for each answer, one at a time. The error names those that did not answer;
	// if only is nil also those that could not be asked.
	Events(only []string, question json.RawMessage, got func(node string, answer json.RawMessage)) error
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
	// eventsRound is after how long no further question of a round is asked: with the last
	// of them it takes some seconds, whatever the others do.
	eventsRound = time.Second
	// maxMirrors bounds the nodes whose events are kept here: more than a fleet has.
	maxMirrors = 256
	// maxPosition bounds a written position, in octets: it is a header of a question.
	maxPosition = 12 << 10
)

// A position is how far somebody has read, by node.
type position map[string]mark

// startKey is no node's name. Its mark is when the one who reads began, in Unix
// microseconds: of nodes that are not in his position, since they did not answer yet, he
// gets what came after that.
const startKey = "@start"

// begin notes when one began, if that is not noted yet.
func (p position) begin(at time.Time) {
	if _, known := p[startKey]; !known {
		p[startKey] = mark{Number: uint64(max(0, at.UnixMicro()))}
	}
}

// start is when he began.
func (p position) start() time.Time { return time.UnixMicro(int64(p[startKey].Number & (1<<62 - 1))) }

// trim forgets nodes that are there no more, when there are more than a fleet has.
func (p position) trim(there map[string]*Events) {
	if len(p) <= maxMirrors {
		return
	}
	for node := range p {
		if _, is := there[node]; !is && node != startKey {
			delete(p, node)
		}
	}
}

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
	// members lists the nodes of the fleet. Nil: that is not known.
	members func() []string

	asking sync.Mutex // one round at a time
	asked  time.Time

	mu      sync.Mutex // guards what follows
	mirrors map[string]*mirror
	missing []string      // sorted
	changed chan struct{} // closed with the next answer that has something new
}

// A mirror is what is known of the events of another node.
type mirror struct {
	*Events
	// whole: all that it had when it was asked first has come. Before nothing of it is
	// shown, since what is old could not be told from what is new.
	whole bool
	heard time.Time // the last time
}

func newGathering(own *Events, peers EventPeers) *gathering {
	return &gathering{own: own, peers: peers, mirrors: make(map[string]*mirror), changed: make(chan struct{})}
}

// name is this node's.
func (g *gathering) name() string {
	if g.peers == nil {
		return ""
	}
	return g.peers.Name()
}

// round asks the others, unless that was done lately. After the first question only those
// are asked that have said that they have more.
func (g *gathering) round(lately time.Duration) {
	if g.peers == nil {
		return
	}
	g.asking.Lock()
	defer g.asking.Unlock()
	began := time.Now()
	if began.Sub(g.asked) < lately {
		return
	}
	var only []string
	for page := range eventsPages {
		more := []string{}
		err := g.peers.Events(only, g.question(), func(node string, answer json.RawMessage) {
			if g.got(node, answer) {
				more = append(more, node)
			}
		})
		if page == 0 {
			g.miss(missingNodes(err))
		}
		if only = more; len(more) == 0 || time.Since(began) > eventsRound {
			break
		}
	}
	g.finish(only)
	g.asked = time.Now()
}

// question is what is not known yet.
func (g *gathering) question() json.RawMessage {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := eventQuestion{From: make(position)}
	for node, m := range g.mirrors {
		_, at, _ := m.after(mark{m.run, ^uint64(0)})
		q.From[node] = at
	}
	question, _ := json.Marshal(q) // plain values: never fails
	return question
}

// miss notes who did not answer.
func (g *gathering) miss(nodes []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Equal(nodes, g.missing) {
		g.missing = nodes
		g.news()
	}
}

// finish ends a round, after which there is left what some have not told: the next one
// goes on there. Who is no member of the fleet any more is forgotten.
func (g *gathering) finish(left []string) {
	var members []string
	if g.members != nil {
		members = g.members()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for node, m := range g.mirrors {
		if members != nil && !slices.Contains(members, node) {
			delete(g.mirrors, node)
			continue
		}
		if !m.whole && !slices.Contains(left, node) {
			m.whole = true
			g.news()
		}
	}
}

// missingNodes are the names in an error that names nodes, sorted: what else it says
// changes from one question to the next.
func missingNodes(err error) []string {
	var nodes []string
	for _, line := range missing(err) {
		name, is := strings.CutPrefix(line, "node ")
		if !is {
			continue // a further line of a reason
		}
		name, _, _ = strings.Cut(name, ": ")
		nodes = append(nodes, harmless(name))
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
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
			g.evict()
		}
		m = &mirror{Events: newMirror(a.Run)}
		g.mirrors[node] = m
	}
	m.heard = time.Now()
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
	if more = a.More && took; !more && !m.whole {
		m.whole, took = true, true
	}
	if took && m.whole {
		g.news()
	}
	return more
}

// evict forgets the one that has not answered for longest. It is called with mu held.
func (g *gathering) evict() {
	var oldest string
	var at time.Time
	for node, m := range g.mirrors {
		if oldest == "" || m.heard.Before(at) {
			oldest, at = node, m.heard
		}
	}
	delete(g.mirrors, oldest)
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
// on. Of a node that is not in it those since it began are listed. Lost counts those that
// came after it and are no more there.
func (g *gathering) after(p position) (list []Event, lost uint64, missing []string) {
	g.mu.Lock()
	sources := map[string]*Events{g.name(): g.own}
	for node, m := range g.mirrors {
		if node != g.name() && m.whole {
			sources[node] = m.Events
		}
	}
	missing = slices.Clone(g.missing)
	g.mu.Unlock()
	since := p.start()
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
	p.trim(sources)
	slices.SortStableFunc(list, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return list, lost, missing
}
