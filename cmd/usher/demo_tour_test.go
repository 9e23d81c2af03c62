package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"usher.example/cmd/internal/demo"
)

// newTour gives a tour whose site and usher end with the test, and what it says.
func newTour(t *testing.T) (*tour, *strings.Builder) {
	t.Helper()
	shortTemp(t)
	site, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	to := newTourOf(site, &tourWriter{to: &said, failed: func(error) {}}, t.Output(), demoOptions{})
	t.Cleanup(func() {
		to.leave()
		if err := site.Close(); err != nil {
			t.Error(err)
		}
	})
	return to, &said
}

// shortTemp is a folder for temporary files whose name is short enough for the
// socket in it, whatever the test is called.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "demo-") //nolint:usetesting // t.TempDir's name is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", dir)
	return dir
}

// TestDemoLeavesNothing runs the tour in this process, where goroutines can be
// counted.
func TestDemoLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := shortTemp(t)
	root := newRoot()
	var said strings.Builder
	root.SetOut(&said)
	root.SetErr(t.Output())
	root.SetArgs([]string{"demo", "--once"})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	goleak.VerifyNone(t, before)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	addresses := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindAllString(said.String(), -1)
	if len(addresses) < 15 { // three back ends; two listeners, HTTP, fleet of three ushers
		t.Fatalf("the tour names %d addresses, want at least 15:\n%s", len(addresses), said.String())
	}
	for _, address := range addresses {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial %s after the end: %v, want that it is refused", address, err)
		}
	}
}

// TestDemoNoticesWhatDoesNotHold breaks what the tour shows: "every step held"
// would mean nothing if it could not be otherwise.
func TestDemoNoticesWhatDoesNotHold(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps func(*tour) []func(context.Context) error // the last is to fail
		want  string
	}{
		{"a back end that is dead from the beginning", func(to *tour) []func(context.Context) error {
			return []func(context.Context) error{to.showNodes, func(ctx context.Context) error {
				for _, b := range to.site.Backends {
					b.Stop()
				}
				return to.everybody(ctx)
			}}
		}, "UNAVAILABLE"},
		{"a user who moves for no reason", func(to *tour) []func(context.Context) error {
			return []func(context.Context) error{to.showNodes, to.everybody, to.outage, func(ctx context.Context) error {
				for _, user := range to.site.Users {
					if home := to.homes[user]; home != to.stopped.Name {
						to.homes[user] = "elsewhere"
						break
					}
				}
				return to.again(ctx)
			}}
		}, "for no reason"},
		{"a user who does not come home", func(to *tour) []func(context.Context) error {
			return []func(context.Context) error{to.showNodes, to.everybody, to.outage, to.again, func(ctx context.Context) error {
				to.homes[to.moved[0]] = "elsewhere"
				return to.comeBack(ctx)
			}}
		}, "did not come back"},
		{"a session that should be alive", func(to *tour) []func(context.Context) error {
			return []func(context.Context) error{to.showNodes, to.everybody, func(ctx context.Context) error {
				for _, b := range to.site.Backends { // some user's session on each
					to.live[to.usersOf(b.Name)[0]].Cut()
				}
				return to.outage(ctx)
			}}
		}, "session of"},
		{"a user who is elsewhere through another usher", func(to *tour) []func(context.Context) error {
			return []func(context.Context) error{to.showNodes, to.everybody, func(ctx context.Context) error {
				for user := range to.homes {
					to.homes[user] = "elsewhere"
				}
				return to.nodeDies(ctx)
			}}
		}, "was on elsewhere"},
		{"a user on two back ends", func(to *tour) []func(context.Context) error {
			return []func(context.Context) error{to.showNodes, to.everybody, func(ctx context.Context) error {
				to.homes[to.site.Users[0]] = "elsewhere"
				return to.move(ctx)
			}}
		}, "by the servers' record"},
		{"a drained server that takes a new user", func(to *tour) []func(context.Context) error {
			return []func(context.Context) error{to.showNodes, to.everybody, func(ctx context.Context) error {
				for user, l := range to.live {
					l.Cut()
					delete(to.live, user)
				}
				return to.drain(ctx)
			}}
		}, "while"},
		{"weights that are others", func(to *tour) []func(context.Context) error {
			return []func(context.Context) error{to.showNodes, func(ctx context.Context) error {
				to.site.Backends[0].Weight = 200
				return to.weights(ctx)
			}}
		}, "want 40.0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to, said := newTour(t)
			steps := tt.steps(to)
			for i, step := range steps {
				err := step(t.Context())
				if i < len(steps)-1 {
					if err != nil {
						t.Fatalf("step %d: %v\n%s", i, err, said)
					}
					continue
				}
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want an error with %q\n%s", err, tt.want, said)
				}
			}
		})
	}
}

func TestDemoInterrupted(t *testing.T) {
	dir := shortTemp(t)
	ctx, cancel := context.WithCancel(t.Context())
	for _, tt := range []struct {
		name string
		how  func() error // when step 4 begins
		want error
	}{
		{"nobody reads", func() error { return io.ErrClosedPipe }, io.ErrClosedPipe},
		{"Ctrl-C", func() error { cancel(); return nil }, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := writerFunc(func(p []byte) (int, error) {
				if strings.Contains(string(p), "4. ") {
					return len(p), tt.how()
				}
				return len(p), nil
			})
			err := runDemo(ctx, demoOptions{once: true}, out, t.Output())
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "in step 4") {
				t.Errorf("got %v, want %v in step 4", err, tt.want)
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) > 0 {
				t.Errorf("left behind: %v, %v", files, err)
			}
		})
	}
}

func TestDemoWithoutAFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	if err := runDemo(t.Context(), demoOptions{once: true}, t.Output(), t.Output()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that there is no folder", err)
	}
}

func TestShellQuote(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "''",
		"/tmp/a-b_c.9/ca":  "/tmp/a-b_c.9/ca",
		"/tmp/two words":   "'/tmp/two words'",
		"it's":             `'it'\''s'`,
		"$(reboot)":        "'$(reboot)'",
		"ada@demo.example": "ada@demo.example",
	} {
		if got := shellQuote(text); got != want {
			t.Errorf("shellQuote(%q): got %s, want %s", text, got, want)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
