// Package chrome drives a real Chromium for tests of the dashboard.
//
// It is no part of the program. A [Tab] notes what a good page never does: errors
// and exceptions in its console, violations of its policy, questions to another
// origin. Whoever opens one asks for its [Tab.Faults] at the end.
package chrome

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// patience is how long anything that has to happen is waited for: far longer than it
// takes, since the machine may be busy.
const patience = 60 * time.Second

// programs are the names under which Chromium is installed.
var programs = []string{"chromium", "chromium-browser", "google-chrome"}

// axe is where .ci/install-axe puts it, below the user's cache.
const axe = "usher-tests/axe-core-4.14.1.js"

func program() string {
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func axeFile() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, _ := os.UserHomeDir() // none: it is not there
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, axe)
}

// Require ends the test unless Chromium and axe-core are installed: as skipped, and
// as failed where CI=true or USHER_REQUIRE_REAL=1 is set.
func Require(t testing.TB) {
	t.Helper()
	what := ""
	if program() == "" {
		what = "Chromium is not installed: .ci/install-debian chromium"
	} else if _, err := os.Stat(axeFile()); err != nil {
		what = "axe-core is not here: .ci/install-axe"
	}
	switch {
	case what == "":
	case os.Getenv("CI") == "true" || os.Getenv("USHER_REQUIRE_REAL") == "1":
		t.Fatal(what)
	default:
		t.Skip("SKIPPED, " + what)
	}
}

// A Browser is one process, which ends with its test.
type Browser struct{ ctx context.Context }

// Start starts Chromium with an empty profile. It asks nobody on the network.
func Start(t testing.TB) *Browser {
	t.Helper()
	Require(t)
	o := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program()), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.WSURLReadTimeout(patience),
	}
	for _, flag := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-extensions", "disable-default-apps",
		"disable-dev-shm-usage", "disable-client-side-phishing-detection", "metrics-recording-only", "hide-scrollbars", "mute-audio",
	} {
		o = append(o, chromedp.Flag(flag, true))
	}
	// Not t.Context: it ends before the cleanup, in which the browser closes its files.
	alloc, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), o...)
	ctx, end := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the process
		end()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return &Browser{ctx}
}
