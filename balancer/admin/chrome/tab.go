package chrome

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A View is how somebody looks at a page.
type View struct {
	Width, Height int64
	Dark          bool
}

// String is as in a file's name.
func (v View) String() string {
	if v.Dark {
		return fmt.Sprintf("%d-dark", v.Width)
	}
	return fmt.Sprintf("%d-light", v.Width)
}

// A Tab shows one page. Its methods end the test if something does not come about.
type Tab struct {
	t      testing.TB
	ctx    context.Context
	origin string

	mu     sync.Mutex // guards what follows
	faults []string
	hosts  map[string]bool // that were asked
}

// Open opens a page; the tab closes with the test.
func (b *Browser) Open(t testing.TB, address string, v View) *Tab {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	tab := &Tab{t: t, origin: u.Host, hosts: make(map[string]bool)}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithListener(tab.hear))
	t.Cleanup(cancel)
	tab.ctx = ctx
	tab.Do(look(v), chromedp.Navigate(address))
	return tab
}

// Look changes how it is looked at.
func (tab *Tab) Look(v View) {
	tab.t.Helper()
	tab.Do(look(v))
}

func look(v View) chromedp.Action[chromedp.Void] {
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: v.Width, Height: v.Height, DeviceScaleFactor: 1, Mobile: v.Width < widestPhone,
		}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err
	})
}

// widestPhone is the width from which on a View is of a desktop, in CSS pixels.
const widestPhone = 500

// hear notes what a good page never does.
func (tab *Tab) hear(event any) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	fault := func(format string, args ...any) { tab.faults = append(tab.faults, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Source == log.EntrySourceSecurity {
			fault("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "assert" {
			fault("console: %s", e.StackTrace.Description)
		}
	case *runtime.EventExceptionThrown:
		fault("exception: %s", e.ExceptionDetails.Text)
	case *page.EventJavascriptDialogOpening:
		fault("a dialog of the browser: %s", e.Message)
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme != "data" && u.Scheme != "about" && u.Host != tab.origin {
			fault("a question to elsewhere: %s", e.Request.URL)
		}
		if err == nil {
			tab.hosts[u.Host] = true
		}
	}
}

// Faults returns what the page did that a good one does not, less those that contain
// one of the texts which the test expects.
func (tab *Tab) Faults(expected ...string) []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	var list []string
next:
	for _, f := range tab.faults {
		for _, e := range expected {
			if strings.Contains(f, e) {
				continue next
			}
		}
		list = append(list, f)
	}
	if len(tab.hosts) == 0 {
		list = append(list, "the browser has told of no question: faults would not be seen either")
	}
	return list
}

// Do runs actions of chromedp that give nothing back.
func (tab *Tab) Do(actions ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	Run(tab, chromedp.Steps(actions...))
}

// Run runs an action of chromedp.
func Run[T any](tab *Tab, action chromedp.Action[T]) T {
	tab.t.Helper()
	// The first action starts what lives as long as its context, which is so the tab's
	// own.
	if err := chromedp.Do(tab.ctx); err != nil {
		tab.t.Fatalf("open a tab: %v", err)
	}
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		tab.t.Fatalf("in the browser: %v", err)
	}
	return v
}

// Eval evaluates an expression; a promise is waited for.
func Eval[T any](tab *Tab, expression string) T {
	tab.t.Helper()
	return Run(tab, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Await waits until an expression is true.
func (tab *Tab) Await(what, expression string) {
	tab.t.Helper()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !Eval[bool](tab, "Boolean("+expression+")"); <-tick.C {
		if time.Now().After(deadline) {
			tab.t.Fatalf("%s: not within %v\n%s\n%q", what, patience, Eval[string](tab, "document.body.innerText"), tab.Faults())
		}
	}
}

// Text returns an element's text.
func (tab *Tab) Text(selector string) string {
	tab.t.Helper()
	return Eval[string](tab, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// Keys names those that Press takes.
const (
	Enter  = kb.Enter
	Escape = kb.Escape
	Key    = kb.Tab
)

// Press presses keys, one after the other.
func (tab *Tab) Press(keys ...string) {
	tab.t.Helper()
	for _, k := range keys {
		tab.Do(chromedp.KeyEvent(k))
	}
}

// Focused describes what has the focus, by its label or text.
func (tab *Tab) Focused() string {
	tab.t.Helper()
	return Eval[string](tab, "(document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.innerText ?? '').trim()")
}

// Shot is a picture of the whole page, a PNG.
func (tab *Tab) Shot() []byte {
	tab.t.Helper()
	return Run(tab, chromedp.FullScreenshot(100))
}

// A Finding is one rule of axe-core that the page breaks.
type Finding struct {
	ID, Impact, Help string
	Nodes            []struct{ HTML, FailureSummary string }
}

// Axe has axe-core look for what keeps people from using the page, and returns what is
// serious or critical.
func (tab *Tab) Axe() []Finding {
	tab.t.Helper()
	text, err := os.ReadFile(axeFile())
	if err != nil {
		tab.t.Fatal(err)
	}
	if !Eval[bool](tab, "typeof axe === 'object'") {
		tab.Do(chromedp.Evaluate[chromedp.Void](string(text)))
	}
	found := Eval[struct {
		Violations []Finding
		Passes     []struct{ ID string }
	}](tab, `axe.run(document, {resultTypes: ["violations"]})`)
	if len(found.Passes) < fewestRules {
		tab.t.Fatalf("axe-core found %d rules kept: it has not looked", len(found.Passes))
	}
	var list []Finding
	for _, f := range found.Violations {
		if f.Impact == "serious" || f.Impact == "critical" {
			list = append(list, f)
		}
	}
	return list
}

// fewestRules that a page with something on it keeps.
const fewestRules = 10

// pollEvery is how often something that can only be looked at is looked at.
const pollEvery = 20 * time.Millisecond

// Click clicks an element.
func (tab *Tab) Click(selector string) {
	tab.t.Helper()
	tab.Do(chromedp.Click(chromedp.CSS(selector)))
}
