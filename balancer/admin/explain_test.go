package admin_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"usher.example/balancer"
	"usher.example/balancer/admin"
	"usher.example/balancer/balancertest"
	"usher.example/balancer/forward"
	"usher.example/balancer/guard"
	"usher.example/sniff/imap"
)

// book is a directory: it knows whom it names, and fails for "torn".
type book map[string]string

func (b book) Lookup(_ context.Context, _, user string) (backend string, ok bool, err error) {
	if user == "torn" {
		return "", false, errors.New("the page is torn")
	}
	backend, ok = b[user]
	return backend, ok, nil
}

// explaining is a node with a guard, and with limits and a directory as a test wants them.
func explaining(t *testing.T, d balancer.Directory, l balancer.Limits) (*node, *guard.Guard) {
	t.Helper()
	n := &node{places: alone(t), ended: make(endings, 100)}
	g := guard.New(guard.Options{Exempt: l.Exempt}, time.Now())
	n.balancer = balancer.New(balancer.Deps{Engine: new(forward.Copy), Placer: n.places, Directory: d, Guard: g, Log: slog.New(n.ended)})
	ports := map[string]int{"imap": balancertest.NewBackend(t, balancertest.IMAP("mail1")).Port()}
	if err := n.balancer.Apply(balancer.Options{
		Hostname: "usher.test", Limits: l,
		Listeners: []balancer.ListenerOptions{
			{
				Name: "imap", Address: "127.0.0.1:0", Protocol: imap.Protocol{}, Pool: "main", PlaintextLogin: true,
				TrustedNetworks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, ProxyNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.250/32")},
			},
			{Name: "other", Address: "127.0.0.2:0", Protocol: imap.Protocol{}, Pool: "other", PlaintextLogin: true},
		},
		Pools: []balancer.PoolOptions{
			{Name: "main", Backends: []balancer.BackendOptions{{Name: "mail1", Host: "127.0.0.1", Ports: ports, Sessions: 50}, {Name: "full", Host: "127.0.0.1", Ports: ports}}},
			{Name: "other", Backends: []balancer.BackendOptions{{Name: "mail7", Host: "127.0.0.1", Ports: ports}}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	n.Server = admin.New(admin.Options{Node: n.balancer, Places: n.places, Fleet: n.places, Guard: g})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody is waited for
		n.balancer.Drain(ctx)
	})
	return n, g
}

// explained asks, and returns the answer of one rule as well.
func (n *node) explained(t *testing.T, query, rule string) (admin.Explained, admin.ExplainStep) {
	t.Helper()
	x := get[admin.Explained](t, n, admin.ExplainPath+"?"+query)
	i := slices.IndexFunc(x.Steps, func(s admin.ExplainStep) bool { return s.Rule == rule })
	if i < 0 {
		t.Fatalf("%s: nothing of the rule %s in %+v", query, rule, x.Steps)
	}
	return x, x.Steps[i]
}

// What a directory says goes before the fleet's rules, and is answered as a login is.
func TestExplainDirectory(t *testing.T) {
	n, _ := explaining(t, book{"joe": "mail1", "ann": "nowhere"}, balancer.Limits{})
	x, st := n.explained(t, "user=joe", balancer.RuleDirectory)
	if st.Outcome != "matched" || x.Place != "mail1" || x.Why != "directory" || x.Verdict != "placed" {
		t.Errorf("whom it names: %+v", x)
	}
	if _, home := n.explained(t, "user=joe", "home"); home.Outcome != "skipped" {
		t.Errorf("his home has no part in it: %+v", home)
	}
	if x, st := n.explained(t, "user=torn", balancer.RuleDirectory); st.Outcome != "refuses" || x.Verdict != "refused" || x.Place != "" || !strings.Contains(x.Error, "torn") || !strings.HasPrefix(x.Answer, "NO [UNAVAILABLE]") {
		t.Errorf("of whom it cannot say: %+v", x)
	}
	if x, st := n.explained(t, "user=ann", balancer.RuleBackend); st.Outcome != "refuses" || x.Verdict != "refused" || x.Answer == "" {
		t.Errorf("whom it sends nowhere: %+v", x)
	}
	if x, st := n.explained(t, "user=bob", balancer.RuleDirectory); st.Outcome != "passed" || x.Why != "home" {
		t.Errorf("whom it does not know: %+v", x)
	}
	c := n.connect(t)
	if line := c.command(t, "LOGIN torn x"); !strings.Contains(line, "NO [UNAVAILABLE]") {
		t.Errorf("a login of whom it cannot say: %q", line)
	}
	for user, want := range map[string]string{"joe": "mail1", "bob": "mail1"} {
		n.connect(t).login(t, user, "good")
		if got := n.balancer.Sessions(user); len(got) != 1 || got[0].Backend != want {
			t.Errorf("a login of %s: %+v", user, got)
		}
	}
}

// The limits are those of logins: each is explained just before one is refused by it, in
// the same words.
func TestExplainLimits(t *testing.T) {
	exempt := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	n, _ := explaining(t, nil, balancer.Limits{PerAddress: 2, PerUser: 1, Exempt: exempt})
	if x, st := n.explained(t, "user=joe&ip=127.0.0.1", balancer.RuleUser); st.Outcome != "passed" || x.Verdict != "placed" {
		t.Errorf("his first session: %+v", x)
	}
	n.connect(t).login(t, "joe", "good")
	x, st := n.explained(t, "user=joe&ip=127.0.0.1", balancer.RuleUser)
	if st.Outcome != "refuses" || x.Verdict != "refused" || x.Place != "" {
		t.Errorf("his second session: %+v", x)
	}
	second := n.connect(t)
	if line := second.command(t, "LOGIN joe good"); x.Answer == "" || !strings.HasPrefix(line, "a "+x.Answer) {
		t.Errorf("explained as %q, answered %q", x.Answer, line)
	}
	x, st = n.explained(t, "user=ann&ip=127.0.0.1", balancer.RuleAddress)
	if st.Outcome != "refuses" || x.Verdict != "refused" || !strings.HasPrefix(x.Answer, "* BYE") {
		t.Errorf("the third of an address: %+v", x)
	}
	for ip, want := range map[string]string{
		"127.0.0.2": "has room", "203.0.113.9": "guard.exempt_networks", "198.51.100.9": "trusted_networks", "192.0.2.250": "proxy_networks", "::ffff:203.0.113.9": "guard.exempt_networks",
	} {
		if x, st := n.explained(t, "user=ann&ip="+ip, balancer.RuleAddress); st.Outcome != "passed" || !strings.Contains(st.Why, want) || x.Verdict != "placed" {
			t.Errorf("%s: %+v", ip, st)
		}
	}
	if _, st := n.explained(t, "user=ann", balancer.RuleAddress); st.Outcome != "skipped" {
		t.Errorf("without an address: %+v", st)
	}
	none, _ := explaining(t, nil, balancer.Limits{})
	if _, st := none.explained(t, "user=ann", balancer.RuleUser); st.Outcome != "skipped" {
		t.Errorf("without a limit: %+v", st)
	}
}

// What is remembered of failed logins delays or refuses a login, and says until when and
// by which entry; who is exempt is not slowed.
func TestExplainPenalty(t *testing.T) {
	exempt := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	n, g := explaining(t, nil, balancer.Limits{Exempt: exempt, LoginTime: 4 * time.Second})
	if x, st := n.explained(t, "user=joe&ip=127.0.0.1", balancer.RulePenalty); st.Outcome != "passed" || st.Until != nil || x.Verdict != "placed" {
		t.Errorf("without a penalty: %+v", st)
	}
	if _, st := n.explained(t, "user=joe", balancer.RulePenalty); st.Outcome != "skipped" || !strings.Contains(st.Why, "no address") {
		t.Errorf("without an address: %+v", st)
	}
	if err := g.Learn(time.Now(), []byte(`{"penalties":[{"kind":"address","name":"127.0.0.1/32","weight":20},{"kind":"user","name":"eve","weight":6}],"logins":[{"address":"127.0.0.1","user":"ann"}]}`)); err != nil {
		t.Fatal(err)
	}
	x, st := n.explained(t, "user=joe&ip=127.0.0.1", balancer.RulePenalty)
	if st.Outcome != "refuses" || st.Entry != "address 127.0.0.1/32" || st.WaitSeconds < 60 || st.Until == nil || !st.Until.After(time.Now()) || x.Verdict != "refused" || x.Place != "" {
		t.Errorf("an address that is slowed: %+v", x)
	}
	c := n.connect(t)
	if line := c.command(t, "LOGIN joe good"); x.Answer == "" || !strings.HasPrefix(line, "a "+x.Answer) {
		t.Errorf("explained as %q, answered %q", x.Answer, line)
	}
	if x, st := n.explained(t, "user=ann&ip=127.0.0.1", balancer.RulePenalty); st.Outcome != "passed" || !strings.Contains(st.Why, "logged in from there before") || x.Verdict != "placed" {
		t.Errorf("who is known there: %+v", st)
	}
	// For a user's sake nobody waits longer than half of the time that a login has.
	if x, st := n.explained(t, "user=eve&ip=192.0.2.9", balancer.RulePenalty); st.Outcome != "waits" || st.Entry != "user eve" || st.WaitSeconds <= 0 || st.WaitSeconds > 2 || x.Verdict != "placed" || x.Place == "" {
		t.Errorf("whose name is guessed: %+v", x)
	}
	for ip, want := range map[string]string{"203.0.113.9": "guard.exempt_networks", "198.51.100.9": "trusted_networks"} {
		if _, st := n.explained(t, "user=eve&ip="+ip, balancer.RulePenalty); st.Outcome != "passed" || !strings.Contains(st.Why, want) {
			t.Errorf("%s: %+v", ip, st)
		}
	}
	if w := g.Held(); w != 0 {
		t.Errorf("%d wait since somebody asked", w)
	}
}

// A question that is not understood is refused with what to do.
func TestExplainRefused(t *testing.T) {
	n, _ := explaining(t, nil, balancer.Limits{})
	long := strings.Repeat("x", 513)
	for query, want := range map[string]struct {
		code int
		text string
	}{
		"": {400, "name"}, "user=": {400, "missing"}, "user=joe&shoe=9": {400, "unknown"}, "user=joe&user=ann": {400, "twice"}, "user=" + long: {400, "512"},
		"user=joe&ip=everywhere": {400, "no address"}, "user=joe&sni=" + long: {400, "too long"}, "user=joe&listener=" + long: {400, "too long"},
		"user=joe&listener=imap&pool=other": {400, "uses pool main"}, "user=joe&listener=smtp": {404, "there are: imap, other"}, "user=joe&pool=nine": {404, "nine"},
	} {
		w := n.ask(http.MethodGet, admin.ExplainPath+"?"+query, "", "")
		if w.Code != want.code || !strings.Contains(w.Body.String(), want.text) {
			t.Errorf("%.60s: %d %s, want %d with %q", query, w.Code, w.Body, want.code, want.text)
		}
	}
	if w := askOf(n.As("ann", admin.RoleRead), http.MethodGet, admin.ExplainPath+"?user=joe", "", ""); w.Code != http.StatusForbidden {
		t.Errorf("a reader: %d %s", w.Code, w.Body)
	}
	nobody := admin.New(admin.Options{Node: n.balancer, Places: pinning{n.places}})
	if w := askOf(nobody.Handler(), http.MethodGet, admin.ExplainPath+"?user=joe", "", ""); w.Code != http.StatusNotImplemented {
		t.Errorf("where nobody explains: %d %s", w.Code, w.Body)
	}
}
