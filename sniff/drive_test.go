package sniff

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// lines is a conversation that takes lines and answers each with ok; some lines
// are commands to it.
type lines struct {
	greeting string
	ok       string
	seen     []string
}

func (c *lines) Start(dst []byte) []byte { return append(dst, c.greeting...) }

func (c *lines) Next(dst, in []byte) (int, []byte, Event, error) {
	line, _, ok := bytes.Cut(in, []byte("\n"))
	if !ok {
		return 0, dst, Event{}, nil
	}
	n := len(line) + 1
	c.seen = append(c.seen, string(line))
	switch string(line) {
	case "starttls":
		return n, append(dst, "begin\n"...), Event{Kind: StartTLS}, nil
	case "login":
		return n, dst, Event{Kind: LoggingIn, Login: &Login{User: "joe"}}, nil
	case "data":
		return n, dst, Event{Kind: Response, Data: in[:4]}, nil
	case "stuck":
		return 0, dst, Event{Kind: Step}, nil
	case "bad":
		return n, append(dst, "bye\n"...), Event{Kind: Quit}, errBad
	}
	return n, append(dst, c.ok...), Event{Kind: Step}, nil
}

var errBad = errors.New("bad line")

// wire is a connection whose writes are recorded.
type wire struct {
	io.Reader
	writes []string
	fail   error
}

func (w *wire) Write(p []byte) (int, error) {
	if w.fail != nil {
		return 0, w.fail
	}
	w.writes = append(w.writes, string(p))
	return len(p), nil
}

func (w *wire) written() string { return strings.Join(w.writes, "") }

// segments is a reader that gives one segment at a time, as a network does.
type segments []string

func (s *segments) Read(p []byte) (int, error) {
	if len(*s) == 0 {
		return 0, io.EOF
	}
	n := copy(p, (*s)[0])
	if (*s)[0] = (*s)[0][n:]; (*s)[0] == "" {
		*s = (*s)[1:]
	}
	return n, nil
}

// CVE-2011-0411 and its family: what stands behind STARTTLS in plaintext is not
// looked at, not answered and not handed out; TLS does not begin.
func TestDriverRefusesInjection(t *testing.T) {
	for name, in := range map[string]segments{
		"one segment":                   {"starttls\nlogin\n"},
		"cut in the injected line":      {"starttls\nlo", "gin\n"},
		"cut before the line's end":     {"starttl", "s\nlogin\n"},
		"one octet":                     {"starttls\nx"},
		"a ClientHello before its turn": {"starttls\n\x16\x03\x01"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &lines{ok: "ok\n"}
			d := NewDriver(c)
			w := &wire{Reader: &in}
			ev, err := d.Drive(w)
			if !errors.Is(err, ErrInjection) || ev.Kind != Quit {
				t.Fatalf("event %v, error %v; want quit, ErrInjection", ev.Kind, err)
			}
			if got := w.written(); got != "" {
				t.Errorf("wrote %q, want nothing", got)
			}
			if want := []string{"starttls"}; !slices.Equal(c.seen, want) {
				t.Errorf("the conversation saw %q, want %q", c.seen, want)
			}
			if rest := d.Rest(); len(rest) > 0 {
				t.Errorf("handed out %q", rest)
			}
		})
	}
}

func TestDriverStartsTLS(t *testing.T) {
	d := NewDriver(&lines{ok: "ok\n"})
	plain := &wire{Reader: &segments{"noop\n", "starttls\n", "not ours to read\n"}}
	ev, err := d.Drive(plain)
	if err != nil || ev.Kind != StartTLS {
		t.Fatalf("event %v, error %v; want starttls", ev.Kind, err)
	}
	if got, want := plain.written(), "ok\nbegin\n"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
	secure := &wire{Reader: &segments{"login\n"}}
	if ev, err := d.Drive(secure); err != nil || ev.Kind != LoggingIn {
		t.Errorf("inside: event %v, error %v; want login", ev.Kind, err)
	}
	if rest, _ := io.ReadAll(plain.Reader); string(rest) != "not ours to read\n" {
		t.Errorf("left on the wire: %q", rest)
	}
}

// endless is a peer that never ends its line.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.read += len(p)
	return len(p), nil
}

func TestDriverBoundsInput(t *testing.T) {
	e := new(endless)
	_, err := NewDriver(&lines{}).Drive(&wire{Reader: e})
	if !errors.Is(err, ErrTooLong) {
		t.Fatalf("error %v, want ErrTooLong", err)
	}
	if e.read != MaxInput {
		t.Errorf("read %d octets, want %d", e.read, MaxInput)
	}
}

// A peer that is read after consumed input claims no more than one that is not.
func TestDriverBoundsInputBehindLines(t *testing.T) {
	e := new(endless)
	first := strings.Repeat("noop\n", 1000)
	_, err := NewDriver(&lines{}).Drive(&wire{Reader: io.MultiReader(strings.NewReader(first), e)})
	if !errors.Is(err, ErrTooLong) {
		t.Fatalf("error %v, want ErrTooLong", err)
	}
	if e.read > MaxInput {
		t.Errorf("read %d octets, want at most %d", e.read, MaxInput)
	}
}

// asker is a reader that checks, each time, that it is not read too early.
type asker struct {
	t    *testing.T
	w    *wire
	turn int
}

func (a *asker) Read(p []byte) (int, error) {
	if got, want := a.w.written(), "hello\n"+strings.Repeat("ok\n", a.turn); got != want {
		a.t.Errorf("read with %q written, want %q", got, want)
	}
	if a.turn++; a.turn > 3 {
		return 0, io.EOF
	}
	return copy(p, "noop\n"), nil
}

func TestDriverWritesBeforeItReads(t *testing.T) {
	w := new(wire)
	w.Reader = &asker{t: t, w: w}
	if _, err := NewDriver(&lines{greeting: "hello\n", ok: "ok\n"}).Drive(w); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want EOF", err)
	}
}

// A peer that pipelines without reading is held up by its connection: no more
// than maxOutput and one answer is collected.
func TestDriverBoundsOutput(t *testing.T) {
	answer := strings.Repeat("a", 99) + "\n"
	const count = 100_000
	w := &wire{Reader: strings.NewReader(strings.Repeat("\n", count))}
	if _, err := NewDriver(&lines{ok: answer}).Drive(w); !errors.Is(err, io.EOF) {
		t.Fatalf("error %v, want EOF", err)
	}
	total := 0
	for _, p := range w.writes {
		total += len(p)
		if len(p) >= maxOutput+len(answer) {
			t.Fatalf("a write of %d octets", len(p))
		}
	}
	if total != count*len(answer) {
		t.Errorf("wrote %d octets, want %d", total, count*len(answer))
	}
}

// stutter gives what r has in pieces of random size.
type stutter struct {
	r   io.Reader
	rng *rand.Rand
}

func (s stutter) Read(p []byte) (int, error) {
	return s.r.Read(p[:min(len(p), 1+s.rng.IntN(1500))])
}

// What was read and not consumed is handed out once, and nothing is missing
// between it and what is still on the wire.
func TestDriverRest(t *testing.T) {
	before, after := strings.Repeat("noop\n", 700)+"login\n", strings.Repeat("pipelined\n", 700)
	for seed := range uint64(200) {
		r := strings.NewReader(before + after)
		d := NewDriver(new(lines))
		ev, err := d.Drive(&wire{Reader: stutter{r, rand.New(rand.NewPCG(seed, 0))}})
		if err != nil || ev.Kind != LoggingIn {
			t.Fatalf("seed %d: event %v, error %v", seed, ev.Kind, err)
		}
		rest := string(d.Rest())
		unread, _ := io.ReadAll(r)
		if got := rest + string(unread); got != after {
			t.Fatalf("seed %d: %d octets behind the login, want %d", seed, len(got), len(after))
		}
		if again := d.Rest(); len(again) > 0 {
			t.Fatalf("seed %d: handed out twice: %q", seed, again)
		}
	}
}

// io.Reader allows an error together with data: the data come first.
func TestDriverHoldsReadErrorBack(t *testing.T) {
	for name, r := range map[string]io.Reader{
		"with the data":   iotest.DataErrReader(strings.NewReader("noop\nlogin\n")),
		"after the data":  strings.NewReader("noop\nlogin\n"),
		"octet by octet":  iotest.OneByteReader(strings.NewReader("noop\nlogin\n")),
		"in half a line ": iotest.DataErrReader(iotest.OneByteReader(strings.NewReader("noop\nlogin\n"))),
	} {
		d := NewDriver(&lines{ok: "ok\n"})
		w := &wire{Reader: r}
		if ev, err := d.Drive(w); err != nil || ev.Kind != LoggingIn {
			t.Errorf("%s: event %v, error %v; want login", name, ev.Kind, err)
		}
		for range 2 { // and it stays
			if _, err := d.Drive(w); !errors.Is(err, io.EOF) {
				t.Errorf("%s: then error %v, want EOF", name, err)
			}
		}
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

func TestDriverErrors(t *testing.T) {
	broken := errors.New("broken pipe")
	for name, tt := range map[string]struct {
		wire    wire
		want    error
		written string
	}{
		"a conversation that spins":  {wire{Reader: strings.NewReader("stuck\n")}, ErrStuck, ""},
		"a reader that gives naught": {wire{Reader: silent{}}, io.ErrNoProgress, ""},
		"a rule broken":              {wire{Reader: strings.NewReader("bad\nmore\n")}, errBad, "bye\n"},
		"a rule broken, no farewell": {wire{Reader: strings.NewReader("bad\n"), fail: broken}, errBad, ""},
		"a write that fails":         {wire{Reader: strings.NewReader("noop\n"), fail: broken}, broken, ""},
		"a write that fails midway":  {wire{Reader: strings.NewReader(strings.Repeat("noop\n", 200)), fail: broken}, broken, ""},
	} {
		ev, err := NewDriver(&lines{ok: strings.Repeat("ok", 100)}).Drive(&tt.wire)
		if !errors.Is(err, tt.want) || ev.Kind != Quit {
			t.Errorf("%s: event %v, error %v; want quit, %v", name, ev.Kind, err, tt.want)
		}
		if got := tt.wire.written(); got != tt.written {
			t.Errorf("%s: wrote %q, want %q", name, got, tt.written)
		}
	}
}

// keeper remembers every buffer it was lent.
type keeper struct {
	segments
	lent [][]byte
}

func (k *keeper) Read(p []byte) (int, error) {
	k.lent = append(k.lent, p[:cap(p)])
	return k.segments.Read(p)
}

func (k *keeper) Write(p []byte) (int, error) {
	k.lent = append(k.lent, p[:cap(p)])
	return len(p), nil
}

// Passwords go through the buffers both ways; nothing of them stays there.
func TestDriverForgetsSecrets(t *testing.T) {
	long := strings.Repeat("hunter2 ", 2000) // makes the buffer grow
	k := &keeper{segments: segments{"PASS hun", "ter2\n", long, "\nlogin\n"}}
	d := NewDriver(&lines{ok: "PASS hunter2\n"})
	if ev, err := d.Drive(k); err != nil || ev.Kind != LoggingIn {
		t.Fatalf("event %v, error %v", ev.Kind, err)
	}
	d.Queue(func(dst []byte) []byte { return append(dst, "PASS hunter2\n"...) })
	if err := d.Flush(k); err != nil {
		t.Fatal(err)
	}
	d.Rest()
	if len(k.lent) < 5 {
		t.Fatalf("only %d buffers seen", len(k.lent))
	}
	for i, p := range k.lent {
		if bytes.Contains(p, []byte("hunter2")) {
			t.Errorf("buffer %d of %d still holds the password", i+1, len(k.lent))
		}
	}
}

// An Event may point into the input: it is left alone until the next step.
func TestDriverKeepsEventData(t *testing.T) {
	d := NewDriver(new(lines))
	ev, err := d.Drive(&wire{Reader: strings.NewReader("data\nlogin\n")})
	if err != nil || string(ev.Data) != "data" {
		t.Errorf("data %q, error %v", ev.Data, err)
	}
}

func TestDriverQueue(t *testing.T) {
	d := NewDriver(&lines{greeting: "hello\n"})
	w := &wire{Reader: &segments{"login\n"}}
	if _, err := d.Drive(w); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		d.Queue(func(dst []byte) []byte { return fmt.Append(dst, i) })
	}
	if err := errors.Join(d.Flush(w), d.Flush(w)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"hello\n", "012"}; !slices.Equal(w.writes, want) {
		t.Errorf("wrote %q, want %q", w.writes, want)
	}
}
