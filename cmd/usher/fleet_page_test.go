package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"usher.example/balancer/admin"
	"usher.example/balancer/admin/chrome"
)

// forward leads from a port of this machine to the node's admin socket, as ssh -L does
// for an operator who sits elsewhere.
func (e *edge) forward(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", e.socket())
			if err != nil {
				_ = in.Close()
				continue
			}
			mu.Lock()
			open[in], open[out] = true, true
			mu.Unlock()
			pass := func(to, from net.Conn) {
				_, _ = io.Copy(to, from) // until one of both has gone
				_ = to.Close()
				_ = from.Close()
			}
			running.Go(func() { pass(out, in) })
			running.Go(func() { pass(in, out) })
		}
	})
	return "http://" + l.Addr().String() + "/"
}

// backendsBy is what a node says of the back ends.
func (e *edge) backendsBy(t testing.TB) map[string]string {
	t.Helper()
	out, err := e.p.command("backend", "list", "--json", "--socket", e.socket())
	var list admin.Backends
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err != nil {
		t.Fatalf("backend list: %v\n%s", err, out)
	}
	states := map[string]string{}
	for _, b := range list.Backends {
		states[b.Name] = b.Admin
	}
	return states
}

// TestDashboard has a Chromium look at a fleet of three real nodes with real users,
// drain a back end by the keyboard alone, see a node die and come back, and lose and
// find again the node that it looks through. With -update it takes the pictures of the
// manual.
func TestDashboard(t *testing.T) {
	require(t)
	t.Parallel()
	browser := chrome.Start(t)
	r := newRig(t, rigOptions{servers: 3, health: quickHealth})
	r.start()
	for i := range 24 {
		r.session(r.nodes[i%3], fmt.Sprintf("guest%02d", i))
	}
	tab := browser.Open(t, r.nodes[0].forward(t), chrome.View{Width: 1280, Height: 900})
	tab.Await("three nodes and 24 users", `document.querySelectorAll("#nodes-table [data-state=good]").length === 3 &&
		[...document.querySelectorAll("#totals .tile")].some((t) => t.innerText.includes("Users") && t.innerText.includes("24"))`)
	if got := tab.Text("#verdict"); got != "All is well" {
		t.Errorf("the verdict is %q", got)
	}
	if *updateDocs {
		r.pictures(t, tab)
	}

	// A drain, with nothing but the keyboard.
	r.reach(tab, "Drain mail2")
	tab.Press(chrome.Enter)
	tab.Await("the dialog", `document.querySelector("#confirm[open]")`)
	if got := tab.Focused(); got != "Cancel" {
		t.Errorf("the dialog begins at %q, want the way out", got)
	}
	if text := tab.Text("#confirm"); !strings.Contains(text, "Drain mail2?") || !strings.Contains(text, "with") || !strings.Contains(text, "leave by themselves") {
		t.Errorf("the dialog does not say what will happen: %q", text)
	}
	tab.Press(chrome.Escape)
	tab.Await("the way out", `!document.querySelector("#confirm[open]")`)
	if got := r.nodes[1].backendsBy(t)["mail2"]; got != "active" {
		t.Errorf("mail2 is %q though nobody has confirmed", got)
	}
	tab.Press(chrome.Enter) // the focus is where it was
	tab.Await("the dialog again", `document.querySelector("#confirm[open]")`)
	tab.Press(chrome.Key)
	if got := tab.Focused(); got != "Drain" {
		t.Fatalf("the key Tab leads to %q", got)
	}
	tab.Press(chrome.Enter)
	tab.Await("the drain on the page", `document.querySelector("#backends-table tr[data-key='main/mail2'] [data-col=admin]").innerText.includes("drain")`)
	if got := r.nodes[1].backendsBy(t)["mail2"]; got != "drain" {
		t.Errorf("another node says that mail2 is %q", got)
	}
	if got := tab.Focused(); got != "Activate mail2" {
		t.Errorf("after the order the focus is on %q", got)
	}
	for i := range 12 {
		r.session(r.nodes[i%3], fmt.Sprintf("fresh%02d", i))
	}
	if came := r.servers[1].Logged(`imap-login: .*user=<fresh`); len(came) > 0 {
		t.Errorf("the drained server got new users: %q", came)
	}

	// Another node dies: it is shown, with what it last said.
	r.nodes[2].kill()
	tab.Await("the death", `document.querySelector("#nodes-table tr[data-key=edge-3] [data-state=bad]")`)
	if text := tab.Text("#nodes-table tr[data-key=edge-3]"); !strings.Contains(text, "gone") || !strings.Contains(text, "old") {
		t.Errorf("of a node that is gone the page says %q", text)
	}
	if got := tab.Text("#verdict"); got != "Node edge-3 is gone" {
		t.Errorf("the verdict is %q", got)
	}
	r.nodes[2].begin()
	r.nodes[2].ready()
	tab.Await("the return", `document.querySelector("#nodes-table tr[data-key=edge-3] [data-state=good]")`)

	// And the one through which we look.
	r.nodes[0].kill()
	tab.Await("stale data", `document.body.hasAttribute("data-stale") && document.querySelector("#lost-text").innerText.includes("No data")`)
	if got := chrome.Eval[int](tab, "document.querySelectorAll('.order:not([hidden])').length"); got != 0 {
		t.Errorf("%d orders are offered by a page without data", got)
	}
	r.nodes[0].begin()
	r.nodes[0].ready()
	tab.Await("data again", `!document.body.hasAttribute("data-stale") && document.querySelector("#live-text").innerText === "Live"`)
	if faults := tab.Faults("ERR_"); len(faults) > 0 { // the browser says itself that nobody answered
		t.Errorf("faults: %q", faults)
	}
}

// reach presses Tab until something has the focus.
func (r *rig) reach(tab *chrome.Tab, what string) {
	r.t.Helper()
	var seen []string
	for range 100 {
		tab.Press(chrome.Key)
		at := tab.Focused()
		if at == what {
			return
		}
		seen = append(seen, at)
	}
	r.t.Fatalf("the key Tab does not lead to %q, only to %q", what, seen)
}

// screens are the pictures of the manual.
var screens = []chrome.View{
	{Width: 1280, Height: 900}, {Width: 1280, Height: 900, Dark: true}, {Width: 390, Height: 844}, {Width: 390, Height: 844, Dark: true},
}

// pictures are taken under load, when there have been enough looks for its line.
func (r *rig) pictures(t *testing.T, tab *chrome.Tab) {
	l := r.load(40, r.nodes...)
	more := r.load(40, r.nodes...)
	tab.Await("a minute's line", `(document.querySelector("#totals .spark .stroke")?.getAttribute("d").match(/L/g) ?? []).length > 20`)
	dir := filepath.Join(root, "docs", "screenshots")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, v := range screens {
		tab.Look(v)
		name := filepath.Join(dir, fmt.Sprintf("dashboard-%v.png", v))
		if err := os.WriteFile(name, small(t, tab.Shot()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tab.Look(screens[0])
	for _, l := range []*traffic{l, more} {
		close(l.stop)
		l.running.Wait()
		t.Logf("%d logins while the pictures were taken, %d failed", l.logins, len(l.failed))
	}
}

// small writes a picture with the 256 colours that most of it has.
func small(t *testing.T, picture []byte) []byte {
	t.Helper()
	from, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[color.RGBA]int{}
	b := from.Bounds()
	at := func(x, y int) color.RGBA {
		r, g, bl, _ := from.At(x, y).RGBA()
		return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(bl >> 8), 255}
	}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			counts[at(x, y)]++
		}
	}
	colours := make([]color.RGBA, 0, len(counts))
	for c := range counts {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int { return counts[b] - counts[a] })
	palette := color.Palette{}
	for _, c := range colours[:min(len(colours), 256)] {
		palette = append(palette, c)
	}
	to := image.NewPaletted(b, palette)
	known := map[color.RGBA]uint8{}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := at(x, y)
			i, ok := known[c]
			if !ok {
				i = uint8(palette.Index(c))
				known[c] = i
			}
			to.SetColorIndex(x, y, i)
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to); err != nil {
		t.Fatal(err)
	}
	if out.Len() > largestPicture {
		t.Errorf("a picture has %d octets", out.Len())
	}
	return out.Bytes()
}

// largestPicture is what the repository should carry for one, in octets.
const largestPicture = 150_000
