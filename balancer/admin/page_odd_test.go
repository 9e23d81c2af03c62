package admin_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"usher.example/balancer/admin"
	"usher.example/balancer/admin/chrome"
	"usher.example/cluster"
)

// hostile is what a back end, or who made a certificate, would like the page to run.
const hostile = `<img src=x onerror="window.owned=1"><script>window.owned=2</script>"'><svg onload=window.owned=3>` + "\u202e" + `javascript:alert(1)`

// TestPageOdd shows the page what it will not see on most days: texts that want to be
// scripts, a great fleet, and an address that asks who one is.
func TestPageOdd(t *testing.T) {
	browser := chrome.Start(t)

	t.Run("hostile", func(t *testing.T) {
		s := failing()
		for _, p := range s.parts {
			rows := p["backends"].([]map[string]any)
			rows[1]["error"] = hostile
			p["certificates"] = []map[string]any{{"id": hostile, "names": []string{hostile}, "listeners": []string{hostile}, "source": "file", "problem": hostile, "not_after": time.Now().Add(time.Hour)}}
			p["reasons"], p["version"] = []string{hostile}, hostile
		}
		s.backend("mail4", func(b *cluster.FleetBackend) { b.By, b.Address = hostile, hostile })
		s.events = func() []admin.BoardEvent {
			return []admin.BoardEvent{{Time: time.Now(), Node: hostile, Level: hostile, Code: hostile, Text: hostile}}
		}
		tab := browser.Open(t, open(t, s.server().Handler())+"/", desk)
		tab.Await("the board", shown)
		tab.Await("its event", `document.querySelector("#event-list li")`)
		for _, place := range []string{"#status", "#nodes", "#backends", "#certificates", "#events"} {
			if text := tab.Text(place); !strings.Contains(text, "onerror=") {
				t.Errorf("%s does not show the text as it is: %q", place, text)
			}
		}
		if chrome.Eval[bool](tab, "'owned' in window || document.querySelector('main img, main script, [onerror], [onload]') !== null") {
			t.Error("the text has become more than text")
		}
		if faults := tab.Faults(); len(faults) > 0 {
			t.Errorf("faults: %q", faults)
		}
	})

	t.Run("great", func(t *testing.T) {
		s := newStage(10, 100)
		tab := browser.Open(t, open(t, s.server().Handler())+"/", phone)
		tab.Await("the board", shown)
		if wide := chrome.Eval[int](tab, "document.documentElement.scrollWidth"); wide > int(phone.Width) {
			t.Errorf("the page is %d px wide", wide)
		}
		tab.Look(desk)
		rows := func() []string {
			return chrome.Eval[[]string](tab, `[...document.querySelectorAll("#backends-table tbody tr")].map((r) => r.dataset.key.slice(5))`)
		}
		if got := rows(); len(got) != 100 || got[0] != "mail1" {
			t.Errorf("%d rows, the first is %q", len(got), got[:1])
		}
		tab.Await("a second board", `/Logins\/s\s+\d/.test(document.querySelector("#totals").innerText)`)
		// One board more has to be shown while nobody would notice that the page waits.
		took := chrome.Eval[float64](tab, `(() => { const b = performance.now(); document.querySelector("[data-col=users] .sort").click(); document.body.offsetHeight; return performance.now() - b; })()`)
		t.Logf("to sort and show a hundred back ends takes %.0f ms", took)
		if took > 1000 {
			t.Errorf("it takes %.0f ms", took)
		}
		counts := chrome.Eval[[]int](tab, `[...document.querySelectorAll("#backends-table tbody td[data-col=users]")].map((c) => Number(c.innerText.replace(",", "")))`)
		if !slices.IsSortedFunc(counts, func(a, b int) int { return b - a }) {
			t.Errorf("sorted by users, the most first: %v", counts)
		}
		if got := chrome.Eval[string](tab, `document.querySelector("#backends-table th[data-col=users]").getAttribute("aria-sort")`); got != "descending" {
			t.Errorf("aria-sort is %q", got)
		}
		chrome.Eval[bool](tab, `(() => { const f = document.querySelector("#filter"); f.focus(); return true; })()`)
		tab.Press("m", "a", "i", "l", "9", "9")
		if got := rows(); len(got) != 1 || got[0] != "mail99" {
			t.Errorf("filtered: %q", got)
		}
		for _, f := range tab.Axe() {
			t.Errorf("%s (%s): %s", f.ID, f.Impact, f.Help)
		}
	})

	t.Run("stranger", func(t *testing.T) {
		inside := newStage(3, 3).server().Handler()
		page := admin.Page()
		var refused atomic.Int64
		address := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // as the API over TCP does
			switch {
			case !strings.HasPrefix(r.URL.Path, "/v1/"):
				page.ServeHTTP(w, r)
			case r.Header.Get("Authorization") != "Bearer open-sesame":
				refused.Add(1)
				w.WriteHeader(http.StatusUnauthorized)
			case r.URL.Path == "/v1/whoami":
				fmt.Fprint(w, `{"name":"ann","role":"operate"}`)
			default:
				inside.ServeHTTP(w, r)
			}
		}))
		tab := browser.Open(t, address+"/", phone)
		tab.Await("the question who it is", `document.querySelector("#token-form:not([hidden])") && document.activeElement.id === "token"`)
		for _, f := range tab.Axe() {
			t.Errorf("%s (%s): %s", f.ID, f.Impact, f.Help)
		}
		chrome.Eval[bool](tab, `(() => { document.querySelector("#token").value = "\u0142"; document.querySelector("#token-form").requestSubmit(); return true; })()`)
		tab.Await("that it is none", `document.querySelector("#token-text").innerText.includes("no token") && !sessionStorage.length`)
		tab.Press("x", chrome.Enter)
		tab.Await("a no", `document.querySelector("#token-text").innerText.includes("not known")`)
		for _, c := range "open-sesame" {
			tab.Press(string(c))
		}
		tab.Press(chrome.Enter)
		tab.Await("the board", shown)
		tab.Await("the name", `document.querySelector("#who").innerText.includes("ann")`)
		if n := refused.Load(); n > 4 {
			t.Errorf("%d questions without the token", n)
		}
		if got := chrome.Eval[string](tab, "JSON.stringify([document.cookie, {...localStorage}, location.href.includes('sesame')])"); got != `["",{},false]` {
			t.Errorf("the token is kept elsewhere: %s", got)
		}
		tab.Click("#forget-token")
		tab.Await("the question again", `document.querySelector("#token-form:not([hidden])") && !sessionStorage.length`)
		if faults := tab.Faults("401"); len(faults) > 0 {
			t.Errorf("faults: %q", faults)
		}
	})
}
