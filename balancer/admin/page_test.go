package admin_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher.example/balancer/admin/chrome"
)

// What operators look at: a desk, and a phone of 360 px.
var desk, phone = chrome.View{Width: 1280, Height: 900}, chrome.View{Width: 360, Height: 780}

var public = http.NotFoundHandler()

// dark is the same at night.
func dark(v chrome.View) chrome.View {
	v.Dark = true
	return v
}

// shown waits for the first board.
const shown = "document.querySelector('#board:not([hidden]) #nodes-table tbody tr')"

// TestPage has a real Chromium show fleets that are well and one that is not, at a
// desk and on a phone, by day and by night. Nobody is kept out, nothing sticks out.
func TestPage(t *testing.T) {
	browser := chrome.Start(t)
	few := []chrome.View{desk, dark(phone)} // what is not there is not otherwise
	for name, tt := range map[string]struct {
		stage   *stage
		verdict string
		has     []string
		views   []chrome.View
	}{
		"one":     {newStage(1, 2), "All is well", []string{"edge-1", "mail2", "mail.example.org, imap.example.org"}, few},
		"three":   {newStage(3, 4), "All is well", []string{"edge-2 leads", "3 of 3", "4 of 4"}, few},
		"failing": {failing(), "Pool archive: no back end is up", []string{"Node edge-3 is gone", "no answer", "it was never heard from here", "connection refused", "nothing replaces it", "degraded"}, []chrome.View{desk, dark(desk), phone, dark(phone)}},
	} {
		t.Run(name, func(t *testing.T) {
			tab := browser.Open(t, open(t, tt.stage.server().Public(public))+"/", desk)
			tab.Await("the board", shown)
			if got := tab.Text("#verdict"); got != tt.verdict {
				t.Errorf("the verdict is %q, want %q", got, tt.verdict)
			}
			text := strings.Join(strings.Fields(tab.Text("body")), " ")
			for _, want := range tt.has {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in %s", want, text)
				}
			}
			for _, v := range tt.views {
				tab.Look(v)
				for _, f := range tab.Axe() {
					t.Errorf("%v: %s (%s): %s %+v", v, f.ID, f.Impact, f.Help, f.Nodes)
				}
				if wide := chrome.Eval[int](tab, "document.documentElement.scrollWidth"); wide > int(v.Width) {
					t.Errorf("%v: the page is %d px wide", v, wide)
				}
				if dir := os.Getenv("USHER_SHOTS"); dir != "" {
					if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%v.png", name, v)), tab.Shot(), 0o600); err != nil {
						t.Error(err)
					}
				}
			}
			if got := chrome.Eval[int](tab, "document.querySelectorAll('.order:not([hidden])').length"); got != 0 {
				t.Errorf("%d orders are offered where none can be given", got)
			}
			if faults := tab.Faults(); len(faults) > 0 {
				t.Errorf("faults: %q", faults)
			}
		})
	}
}
