package record_test

import (
	"fmt"
	"slices"

	"usher.example/balancer/record"
)

// What a player can do; the numbers are part of the fuzz corpus.
const (
	opData = iota
	opLong
	opPadded
	opAlert
	opMessage
	opUpdate
	opUpdateOnly
	opTicket
	opRaw
	opSkip
	opEmpty
	opPieces
	opType
	opOuter
	opVersion
	opAlertBody
	opNothing
	ops

	flip = 0x80 // one bit of the step's bytes is flipped
)

// A step is what the adversary sends at once.
type step struct {
	what  string
	bytes []byte
	// may says why the two may go apart here, if they may.
	may string
}

// A player turns fuzz input into steps.
type player struct {
	*script
	in      []byte
	role    record.Role // of those who listen
	version uint16
	useless int // records and messages since the last data, as crypto/tls counts
	may     string
}

// arg takes a byte, 0 if there is none.
func (p *player) arg() byte {
	if len(p.in) == 0 {
		return 0
	}
	b := p.in[0]
	p.in = p.in[1:]
	return b
}

// play takes the next step.
func (p *player) play() (step, bool) {
	if len(p.in) == 0 {
		return step{}, false
	}
	op := p.arg()
	p.stream = nil
	p.act(op&^flip%ops, p.arg(), p.arg())
	if op&flip != 0 && len(p.stream) > 0 {
		at := int(p.arg())<<8 | int(p.arg())
		bit := at % (8 * len(p.stream))
		p.stream[bit/8] ^= 1 << (bit % 8)
		if (bit/8 < record.HeaderLen || op&^flip%ops == opPieces) && p.may == "" {
			switch {
			case op&^flip%ops == opPieces:
				p.may = "pieces that crypto/tls waits for and we have judged"
			case bit/8 >= 3:
				// One may wait for what the other knows cannot come.
				p.may = "another length"
			case p.version == record.TLS13:
				p.may = "another type or version in TLS 1.3"
			}
		}
	}
	if p.useless > record.MaxEmpty && p.may == "" {
		p.may = "crypto/tls counts all that has no data together"
	}
	return step{what: fmt.Sprintf("%d", op), bytes: p.stream, may: p.may}, true
}

// act does one thing. Once the two may differ they may for good: what follows
// has another meaning to either.
func (p *player) act(op, x, y byte) {
	p.useless++
	switch op {
	case opData:
		p.forge(record.Forgery{Type: record.TypeData, Body: pattern(1 + int(x))})
		p.useless = 0
	case opLong:
		n := record.MaxPlaintext + 1 - int(x%4)
		p.forge(record.Forgery{Type: record.TypeData, Body: pattern(n)})
		p.useless = 0
	case opPadded:
		p.forge(record.Forgery{Type: record.TypeData, Body: pattern(int(x)), Padding: int(y) * 64})
		if x > 0 {
			p.useless = 0
		}
	case opAlert:
		p.alert(x, y)
	case opMessage:
		p.handshake(message(x, int(y))...)
		if p.version == record.TLS12 && x == 0 && y == 0 && p.role == record.Server {
			p.may = "crypto/tls refuses a client's HelloRequest as renegotiation"
		}
		if p.version == record.TLS13 && x == 4 && p.role == record.Client {
			p.may = "we drop tickets unread"
		}
	case opUpdate:
		if p.version == record.TLS13 {
			p.update(x&1 != 0)
		}
	case opUpdateOnly:
		p.handshake(24, 0, 0, 1, x%4)
	case opTicket:
		m := ticket(1 + int(x))
		if y%2 == 0 {
			m = append(m, ticket(1)...)
			p.useless++
		}
		p.handshake(m...)
	case opRaw:
		// A header and half a body: nothing to decide before more comes.
		p.raw(record.TypeData, 3, 3, x%66, y).raw(pattern(int(y) / 2)...)
		p.may = "a record that only crypto/tls waits for"
	case opSkip:
		p.skip()
	case opEmpty:
		p.forge(record.Forgery{Type: record.TypeData})
	case opPieces:
		m := slices.Concat(ticket(1+int(x)), []byte{24, 0, 0, 1, y & 1})
		if p.role == record.Server {
			m = []byte{24, 0, 0, 1, y & 1}
		}
		p.pieces(1+int(y%16), m)
		p.useless++
		if p.version == record.TLS13 {
			p.rekey()
		}
	case opType:
		p.forge(record.Forgery{Type: x, Body: []byte{1}})
		switch {
		case x == record.TypeChangeCipherSpec && p.version == record.TLS13:
			p.may = "crypto/tls ignores a change_cipher_spec even if sealed"
		case x == record.TypeHandshake:
			p.may = "a message of which only the first byte is there"
		}
	case opOuter:
		if p.version == record.TLS13 {
			p.forge(record.Forgery{Type: record.TypeData, Outer: x, Body: []byte{1}})
		}
		if x == record.TypeChangeCipherSpec {
			p.may = "crypto/tls ignores change_cipher_spec for ever"
		}
		p.useless = 0
	case opVersion:
		p.forge(record.Forgery{Type: record.TypeData, Version: uint16(x)<<8 | uint16(y), Body: []byte{1}})
		p.may = "crypto/tls does not ignore the header's version in TLS 1.3"
		p.useless = 0
	case opAlertBody:
		p.alert(make([]byte, x%5)...)
	case opNothing:
		p.forge(record.Forgery{Padding: int(x) % 4})
		if x%4 == 0 {
			p.may = "crypto/tls takes no content type for empty data"
		}
	}
}
