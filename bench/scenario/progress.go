package scenario

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// redrawEvery is how often the line on a terminal is written anew, for its clock.
const redrawEvery = time.Second

// A Progress tells who waits what runs, how far the whole is and how long it may
// still take: a line that is written over on a terminal, a line for each start of
// a target elsewhere. Its methods may be called from several goroutines.
type Progress struct {
	out      io.Writer
	terminal bool
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu            sync.Mutex // guards all below
	began         time.Time
	rounds, done  int
	weight, spent time.Duration // of all, and of those that are done
	what, detail  string
}

// NewProgress writes to out, usually standard error.
func NewProgress(out io.Writer) *Progress {
	p := &Progress{out: out, stop: make(chan struct{})}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// begin starts the clock over so many rounds.
func (p *Progress) begin(rounds int, weight time.Duration) {
	p.began, p.rounds, p.weight = time.Now(), rounds, weight
	if !p.terminal {
		return
	}
	p.stopped.Go(func() {
		tick := time.NewTicker(redrawEvery)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.mu.Lock()
				p.draw()
				p.mu.Unlock()
			}
		}
	})
}

// next says which round begins.
func (p *Progress) next(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.detail = what, ""
	p.draw()
	if !p.terminal {
		fmt.Fprintln(p.out, p.line())
	}
}

// say says what the round is at.
func (p *Progress) say(detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detail = detail
	p.draw()
}

// finished counts a round.
func (p *Progress) finished(weight time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	p.spent += weight
}

// tell writes a line that stays.
func (p *Progress) tell(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintln(p.out, line)
	p.draw()
}

// end stops the clock and takes the line away.
func (p *Progress) end() {
	close(p.stop)
	p.stopped.Wait()
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// draw wants mu held.
func (p *Progress) draw() {
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", cut(p.line(), p.width()))
	}
}

// line wants mu held.
func (p *Progress) line() string {
	elapsed := time.Since(p.began)
	text := fmt.Sprintf("%d/%d %s", min(p.done+1, p.rounds), p.rounds, elapsed.Round(time.Second))
	if left := p.left(elapsed); left > 0 {
		text += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	text += ": " + p.what
	if p.detail != "" {
		text += ": " + p.detail
	}
	return text
}

// left estimates what remains: as long as was thought, times how wrong that was so
// far.
func (p *Progress) left(elapsed time.Duration) time.Duration {
	left := p.weight - p.spent
	if p.spent > 0 {
		left = time.Duration(float64(left) * float64(elapsed) / float64(p.spent))
	}
	return left
}

// width is how many characters fit on a line of the terminal.
func (p *Progress) width() int {
	const usual = 80
	if f, ok := p.out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 1 {
			return int(size.Col) - 1
		}
	}
	return usual - 1
}

// cut is the first width characters of a line.
func cut(line string, width int) string {
	if runes := []rune(line); len(runes) > width {
		return string(runes[:width])
	}
	return line
}
