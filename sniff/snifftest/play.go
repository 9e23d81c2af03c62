// Package snifftest runs conversations from transcripts and holds the laws that
// every conversation must obey.
//
// A transcript is a text file: options in lines "# name: value", then what the
// peer says, a line "----", and what we answer. In the peer's part each line
// gets CRLF; \xNN, \r, \n and \\ are escapes, and a line that ends in \c gets no
// CRLF. A line that begins with ! is the caller's reaction to the last event:
//
//	!secured [peer]          TLS is on
//	!accept [CAP …] | text   the answer to a login is yes
//	!refuse CODE [text]      … or no
//	!challenge text          a relayed challenge for the client
//	!respond text            a relayed response for the back end
//
// In our part, lines that begin with "=> " are events. Transcripts are played
// whole and cut in single octets; both must give the same answer. They are
// rewritten with "go test -update".
package snifftest

import (
	"bytes"
	"fmt"
	"strings"

	"usher.example/sniff"
)

// A reaction is what the caller of a conversation does about an event.
type reaction func(c sniff.Conversation, last sniff.Event, dst []byte) ([]byte, error)

// A piece is some input and what is done once the conversation has stopped on it.
type piece struct {
	input string
	react reaction
}

// A player feeds a conversation and writes down what it does.
type player struct {
	conv sniff.Conversation
	cut  func(left int) int // how much of the waiting input comes next
	log  bytes.Buffer
	in   []byte      // offered and not consumed
	lent []byte      // what the last step got to see
	last sniff.Event // the newest event but More and Step
	wait bool        // it needs a reaction
	over bool
}

// play runs the pieces and returns the record.
func play(c sniff.Conversation, pieces []piece, cut func(int) int) string {
	p := &player{conv: c, cut: cut}
	p.say(c.Start(nil))
	var pending []byte
	for i, pc := range pieces {
		pending = append(pending, pc.input...)
		pending = p.feed(pending)
		if p.over {
			break
		}
		if pc.react == nil {
			continue
		}
		if !p.wait {
			fmt.Fprintf(&p.log, "=> nothing to react to in piece %d\n", i+1)
			break
		}
		out, err := pc.react(c, p.last, nil)
		if err != nil {
			fmt.Fprintf(&p.log, "=> %v\n", err)
			break
		}
		p.say(out)
		p.wait = false
		pending = p.feed(pending)
		if p.over {
			break
		}
	}
	if rest := string(p.in) + string(pending); rest != "" {
		fmt.Fprintf(&p.log, "=> rest %q\n", rest)
	}
	return p.log.String()
}

// feed offers input, cut by cut, until an event needs a reaction or there is no
// more; it returns what was not offered.
func (p *player) feed(input []byte) []byte {
	for !p.wait && !p.over {
		if p.step() {
			continue
		}
		if p.wait || p.over || len(input) == 0 {
			return input
		}
		n := max(1, min(len(input), p.cut(len(input))))
		p.in = append(p.in, input[:n]...)
		input = input[n:]
	}
	return input
}

// step calls Next once; false means that it needs more input.
func (p *player) step() bool {
	for i := range p.lent { // a conversation that kept its input shows itself
		p.lent[i] = '#'
	}
	p.lent = bytes.Clone(p.in)
	n, out, ev, err := p.conv.Next(nil, p.lent)
	if n < 0 || n > len(p.in) {
		panic(fmt.Sprintf("Next consumed %d of %d octets", n, len(p.in)))
	}
	if ev.Kind == sniff.Step && n == 0 && len(out) == 0 {
		panic("Step without progress")
	}
	if err != nil && ev.Kind != sniff.Quit {
		panic(fmt.Sprintf("error %v with event %v", err, ev.Kind))
	}
	p.in = p.in[n:]
	p.say(out)
	switch ev.Kind {
	case sniff.More:
		return false
	case sniff.Step:
		return true
	case sniff.StartTLS, sniff.LoggingIn, sniff.Challenge, sniff.Response:
		p.wait = true
	case sniff.Accepted, sniff.Refused, sniff.Quit:
		p.over = true
	case sniff.Cancelled:
	}
	p.last = ev
	p.log.WriteString(describe(ev, err))
	return true
}

func (p *player) say(out []byte) {
	for line := range strings.SplitAfterSeq(string(out), "\n") {
		if line == "" {
			continue
		}
		whole, ok := strings.CutSuffix(line, "\r\n")
		p.log.WriteString(printable(whole))
		if !ok {
			p.log.WriteString(`\c`)
		}
		p.log.WriteByte('\n')
	}
}

// printable writes control characters and invalid UTF-8 as escapes.
func printable(s string) string {
	q := fmt.Sprintf("%q", s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

func describe(ev sniff.Event, err error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "=> %v", ev.Kind)
	if l := ev.Login; l != nil {
		fmt.Fprintf(&b, " mech=%s user=%q auth=%q", l.Mechanism, l.User, l.AuthID)
		if l.AuthzID != "" {
			fmt.Fprintf(&b, " authz=%q", l.AuthzID)
		}
		if len(l.Password) > 0 {
			fmt.Fprintf(&b, " password=%q", []byte(l.Password))
		}
		if len(l.Initial) > 0 {
			fmt.Fprintf(&b, " initial=%q", []byte(l.Initial))
		}
		if w := l.Before; w.AskedCapability || w.ID != nil || w.UTF8 || w.Lang != "" {
			fmt.Fprintf(&b, " before=%+v", w)
		}
	}
	if ev.Kind == sniff.Challenge || ev.Kind == sniff.Response {
		fmt.Fprintf(&b, " data=%q", ev.Data)
	}
	if a := ev.Accepted; a != nil {
		fmt.Fprintf(&b, " text=%q capabilities=%q", a.Text, a.Capabilities)
	}
	if r := ev.Refusal; r != nil {
		fmt.Fprintf(&b, " code=%v text=%q", r.Code, r.Text)
	}
	if err != nil {
		fmt.Fprintf(&b, " error=%q", err)
	}
	b.WriteByte('\n')
	return b.String()
}
