package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// quietTime is how long a work says nothing of its progress: most are over by then.
	quietTime = 2 * time.Second
	// tellEvery is the least time between two lines of progress, and redrawEvery that
	// between two on a terminal, where one takes the place of the other.
	tellEvery   = 2 * time.Second
	redrawEvery = 200 * time.Millisecond
)

// A progressLine is how far a work is: a line of JSON on standard error.
type progressLine struct {
	Done  int `json:"done"`
	Total int `json:"total"`
	// Rate is how many a second were done, on average; 0 while none was.
	Rate float64 `json:"rate"`
	// ETA is in how many seconds all are at that rate; null while nobody can say.
	ETA *float64 `json:"eta_seconds"`
	// Note says what stands in the way, if anything does.
	Note string `json:"note,omitempty"`
}

// A meter tells how far a work is that takes longer. On a terminal one line is written
// over and over, elsewhere there is one every two seconds; with JSON they are objects. It
// is not for concurrent use.
type meter struct {
	out      io.Writer // standard error
	json     bool
	terminal bool
	began    time.Time
	told     time.Time
	first    bool // also before quietTime is over
	drawn    bool // a line stands that is to be written over
	last     string
}

func newMeter(out io.Writer, asJSON bool) *meter {
	m := &meter{out: out, json: asJSON, began: time.Now()}
	if f, ok := out.(*os.File); ok && !asJSON {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		m.terminal = err == nil
	}
	return m
}

// pace is the progress at a time, for JSON.
func (m *meter) pace(now time.Time, done, total int, note string) progressLine {
	p := progressLine{Done: done, Total: total, Note: note}
	if since := now.Sub(m.began).Seconds(); done > 0 && since > 0 {
		p.Rate = float64(done) / since
		left := float64(total-done) / p.Rate
		p.ETA = &left
	}
	return p
}

// due says whether it is time for another line.
func (m *meter) due(now time.Time) bool {
	every := tellEvery
	if m.terminal {
		every = redrawEvery
	}
	if m.told.IsZero() {
		return m.first || now.Sub(m.began) >= quietTime
	}
	return now.Sub(m.told) >= every
}

// tell says how far the work is, if it is time. The line is for people.
func (m *meter) tell(now time.Time, p progressLine, line string) {
	if !m.due(now) {
		return
	}
	m.told = now
	switch {
	case m.json:
		b, err := json.Marshal(p)
		if err != nil {
			return // numbers
		}
		fmt.Fprintf(m.out, "%s\n", b)
	case m.terminal:
		fmt.Fprintf(m.out, "\r\x1b[K%s", shorten(line, m.width()))
		m.drawn = true
	case line != m.last:
		fmt.Fprintln(m.out, line)
	}
	m.last = line
}

// width is how many characters fit on a line of the terminal, so that it can be written
// over.
func (m *meter) width() int {
	const usual = 80
	if f, ok := m.out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 1 {
			return int(size.Col) - 1
		}
	}
	return usual - 1
}

// end leaves the last line where it is, so that what follows begins on a new one.
func (m *meter) end() {
	if m.drawn {
		fmt.Fprintln(m.out)
		m.drawn = false
	}
}
