package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"usher.example/cluster/place"
	"usher.example/cluster/table"
)

// planUsers is how many users are live when an order is planned and then given.
const planUsers = 60

// A planned order is looked at and then given.
type plannedOrder struct {
	name    string
	storage place.Storage
	before  func(t *testing.T, s *sitter)
	request PlanRequest
	give    func(t *testing.T, s *sitter)
}

// fourth is a pool of one back end more, which answers.
func fourth(t *testing.T, s *sitter) {
	s.f.SetHealth("main", "store4", true)
	s.update(t, mainPool(place.Shared, 4))
	s.health(t, "store4", true)
}

// Each order does what its plan has said, user by user: whose sessions are closed, whose
// go on, and where each logs in then.
func TestPlanIsWhatHappens(t *testing.T) {
	setAdmin := func(a table.Admin) func(*testing.T, *sitter) {
		return func(t *testing.T, s *sitter) { s.admin(t, "store1", a) }
	}
	setWeight := func(n int) func(*testing.T, *sitter) {
		return func(t *testing.T, s *sitter) {
			if err := s.f.SetWeight(t.Context(), "main", "store1", n, "test"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, o := range []plannedOrder{
		{name: "drain", request: PlanRequest{Backend: "store1", Admin: new(table.Draining)}, give: setAdmin(table.Draining)},
		{name: "evacuate", request: PlanRequest{Backend: "store1", Admin: new(table.Evacuate)}, give: setAdmin(table.Evacuate)},
		{name: "down", request: PlanRequest{Backend: "store1", Admin: new(table.Down)}, give: setAdmin(table.Down)},
		{name: "activate", before: setAdmin(table.Draining), request: PlanRequest{Backend: "store1", Admin: new(table.Active)}, give: setAdmin(table.Active)},
		{name: "weight 0", request: PlanRequest{Backend: "store1", Weight: new(0)}, give: setWeight(0)},
		{name: "weight 400", request: PlanRequest{Backend: "store1", Weight: new(400)}, give: setWeight(400)},
		{name: "weight of the file", before: setWeight(7), request: PlanRequest{Backend: "store1", Weight: new(-1)}, give: setWeight(-1)},
		{name: "add", request: PlanRequest{Add: &place.Backend{Name: "store4", Weight: 100}}, give: fourth},
		{name: "remove", before: fourth, request: PlanRequest{Remove: "store4"}, give: func(t *testing.T, s *sitter) { s.update(t, mainPool(place.Shared, 3)) }},
		{name: "down, local", storage: place.Local, request: PlanRequest{Backend: "store1", Admin: new(table.Down)}, give: setAdmin(table.Down)},
		{name: "drain, local", storage: place.Local, request: PlanRequest{Backend: "store1", Admin: new(table.Draining)}, give: setAdmin(table.Draining)},
	} {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			o.try(t)
		})
	}
}

func (o plannedOrder) try(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(o.storage, 3))
	s.settle(t)
	if o.before != nil {
		o.before(t, s)
	}
	from := make(map[string]string)
	for i := range planUsers {
		user := fmt.Sprintf("user%d", i)
		for range 1 + i%2 {
			from[user], _ = s.login(t, user)
		}
	}
	o.request.Pool = "main"
	plan, missing, err := s.f.Plan(t.Context(), o.request)
	if err := errors.Join(missing, err); err != nil {
		t.Fatal(err)
	}
	if n := len(s.f.Status()[0].Backends); s.count() != planUsers*3/2 || o.request.Add != nil && n != 3 {
		t.Fatalf("after a plan there are %d sessions and %d back ends", s.count(), n)
	}
	o.give(t, s)
	at := func(user string) (string, int) {
		w, err := s.f.Where("main", user)
		if err != nil {
			t.Fatal(err)
		}
		return w.Stay, w.Holds
	}
	evacuated, _ := plan.Has(FlowEvacuated)
	closed, closes := plan.Has(FlowClosed, FlowEvacuated)
	until(t, fmt.Sprintf("the end of %d sessions of %d users", closes, closed), func() bool { return s.count() == planUsers*3/2-closes && s.moves() == 0 })
	if s.count() != planUsers*3/2-closes {
		t.Errorf("%d sessions go on, the plan was that %d end", s.count(), closes)
	}

	got := make(map[Flow]int)
	for user, was := range from {
		f := Flow{From: was}
		b, holds := at(user)
		w, err := s.f.Where("main", user)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case holds == 0 && evacuated > 0:
			f.How, f.To = FlowEvacuated, w.Place
		case holds == 0:
			f.How, f.To = FlowClosed, w.Place
		case w.Place == "":
			f.How = FlowRefused
		case s.backend(was).State == "removed":
			f.How = FlowLogin
			f.To, _ = s.visit(t, user) // leaves first
			if _, left := at(user); left != 0 {
				t.Errorf("%s has %d sessions on a removed back end after a login", user, left)
			}
		case b == w.Home || w.Why == place.ByHome:
			f.How, f.To = FlowStays, b
		default:
			f.How, f.To = FlowLater, w.Home
			if there, why := s.visit(t, user); there != was || why != place.ByStay {
				t.Errorf("%s logs in to %s by %s while live on %s", user, there, why, was)
			}
		}
		got[f]++
	}
	want := make(map[Flow]int)
	for _, f := range plan.Flows {
		n := f.Users
		f.Users, f.Sessions = 0, 0
		want[f] += n
	}
	if !maps.Equal(got, want) {
		t.Errorf("it happened: %v\nthe plan was: %v", got, want)
	}
	if len(want) < 2 {
		t.Errorf("all users have one way, %v: nothing is shown", want)
	}
}

// moves counts those under way.
func (s *sitter) moves() int { return s.f.Overview().Moves }

// A move of a user, to a back end, home, or without his pin, does what was planned; what
// would be refused is.
func TestPlanOfMove(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Shared, 3))
	s.settle(t)
	user := s.userOf(t, "store1")
	s.admin(t, "store3", table.Draining)
	ctx := t.Context()
	for _, tt := range []struct {
		target string
		home   bool
		want   string // where he is then
		err    error
	}{
		{"store2", false, "store2", nil},
		{"store2", false, "store2", nil}, // again: his sessions end all the same
		{"store3", false, "", table.ErrTarget},
		{"store9", false, "", table.ErrNoBackend},
		{"", true, "store2", nil}, // his pin stays
		{"", false, "store1", nil},
	} {
		s.login(t, user)
		s.login(t, user)
		w, _ := s.f.Where("main", user)
		u, missing, err := s.f.PlanMove(ctx, "main", user, tt.target, tt.home)
		if !errors.Is(err, tt.err) || missing != nil {
			t.Fatalf("plan of a move to %q: %v, %v, want %v", tt.target, missing, err, tt.err)
		}
		if s.count() != 2 {
			t.Fatalf("%d sessions after a plan", s.count())
		}
		if tt.home {
			err = s.f.Home(ctx, "main", user, "test")
		} else {
			err = s.f.Move(ctx, "main", user, tt.target, "test")
		}
		if !errors.Is(err, tt.err) {
			t.Fatalf("move to %q: %v, want %v", tt.target, err, tt.err)
		}
		if tt.err != nil {
			s.out()
			continue
		}
		if want := (Flow{w.Place, tt.want, FlowClosed, 1, 2}); !slices.Equal(u.Flows, []Flow{want}) {
			t.Errorf("plan of a move to %q: %v, want %v", tt.target, u.Flows, want)
		}
		if b, _ := s.visit(t, user); s.count() != 0 || b != u.To {
			t.Errorf("he has %d sessions and logs in to %s, the plan was %s", s.count(), b, u.To)
		}
	}
}

// A user who is on several nodes is one; a node that does not answer is named.
func TestPlanOfThree(t *testing.T) {
	nodes := trio(t, nil)
	for _, s := range nodes {
		await(t, s)
	}
	user := nodes[0].userOf(t, nodes[0].f.Status()[0].Backends[0].Name)
	var at string
	for _, s := range nodes {
		at, _ = s.login(t, user)
	}
	down := PlanRequest{Pool: "main", Backend: at, Admin: new(table.Down)}
	plan, missing, err := nodes[2].f.Plan(t.Context(), down)
	if err := errors.Join(missing, err); err != nil {
		t.Fatal(err)
	}
	if users, sessions := plan.Has(FlowClosed); users != 1 || sessions != 3 {
		t.Errorf("%d users and %d sessions, want one with three", users, sessions)
	}
	// One that does not answer, or nonsense, is named, and the others are counted.
	nodes[0].f.Answer("word", func(context.Context, json.RawMessage) (any, error) { return "yes", nil })
	nodes[1].f.Answer("word", func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("not today") })
	heard := ""
	err = nodes[0].f.AskAll(t.Context(), "word", 1, func(r Reply) { heard += r.Node + string(r.Data) })
	if heard != `edge-1"yes"` || err == nil || !strings.Contains(err.Error(), "edge-2: not today") || !strings.Contains(err.Error(), "edge-3: "+errNoTopic.Error()) {
		t.Errorf("heard %s, %v", heard, err)
	}
}

// FuzzSeats has another node tell who is live there.
func FuzzSeats(f *testing.F) {
	f.Add([]byte(`"AAAAAAAAAAEAAgAAAAM="`))
	f.Add([]byte(`""`))
	f.Add([]byte(`"AAAA"`))
	f.Add([]byte(`7`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s, again seats
		if s.UnmarshalJSON(text) != nil {
			return
		}
		b, err := s.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalJSON(b); err != nil || !slices.Equal(s, again) {
			t.Errorf("%v is %v after it was written and read: %v", s, again, err)
		}
		for _, u := range s {
			if u.Holds <= 0 {
				t.Errorf("a user with %d connections", u.Holds)
			}
		}
	})
}
