package record

// Handshake messages that can come after the handshake (RFC 8446 §4.6; of TLS
// 1.2 RFC 5246 §7.4.1).
const (
	msgHelloRequest     byte = 0
	msgClientHello      byte = 1
	msgNewSessionTicket byte = 4
	msgKeyUpdate        byte = 24
)

const (
	msgHeaderLen = 4
	// maxMessage bounds a message, as crypto/tls does: only tickets are larger
	// than a byte, and few of those larger than a kilobyte.
	maxMessage = 1 << 16
	// minTicket is the size of the least NewSessionTicket: life time, age_add,
	// nonce length, a ticket of one byte, extensions length (RFC 8446 §4.6.1).
	minTicket = 4 + 4 + 1 + 2 + 1 + 2
)

// A postHandshake takes handshake messages apart that may be cut over records at
// any point. Nothing needs more of a message than its header and one byte, so
// there is no buffer: what is dropped is counted, not kept.
type postHandshake struct {
	head [msgHeaderLen]byte
	have uint8  // bytes of head
	body uint8  // the last byte of the body so far
	left uint32 // bytes of the body to come; valid once head is complete
}

// partial says that a message has begun and not ended.
func (h *postHandshake) partial() bool { return h.have > 0 }

// take eats a part of p and says whether a message is complete with it. It fails
// as soon as the message can be none that role may get.
func (h *postHandshake) take(role Role, p []byte) (n int, complete bool, err error) {
	if h.have < msgHeaderLen {
		n = copy(h.head[h.have:], p)
		h.have += uint8(n)
		if err := h.judge(role); err != nil {
			return n, false, err
		}
		if h.have < msgHeaderLen {
			return n, false, nil
		}
		p = p[n:]
	}
	m := min(int(h.left), len(p))
	if m > 0 {
		h.body = p[m-1]
	}
	h.left -= uint32(m)
	if h.left > 0 {
		return n + m, false, nil
	}
	h.have = 0
	return n + m, true, nil
}

// judge looks at a header of which at least the first byte is there, and sets
// left when it is complete.
func (h *postHandshake) judge(role Role) error {
	typ := h.head[0]
	if typ != msgKeyUpdate && (typ != msgNewSessionTicket || role != Client) {
		return &AlertError{Alert: UnexpectedMessage, Class: Unexpected}
	}
	if h.have < msgHeaderLen {
		return nil
	}
	h.left = uint32(h.head[1])<<16 | uint32(h.head[2])<<8 | uint32(h.head[3])
	switch {
	case typ == msgKeyUpdate && h.left != 1, typ == msgNewSessionTicket && h.left < minTicket:
		return &AlertError{Alert: DecodeError, Class: Malformed}
	case h.left > maxMessage:
		return &AlertError{Alert: IllegalParameter, Class: Malformed}
	}
	return nil
}

// handshake judges a record of handshake messages of TLS 1.3.
func (r *Reader) handshake(p []byte) (Event, error) {
	var ev Event
	for len(p) > 0 {
		n, complete, err := r.post.take(r.role, p)
		if err != nil {
			return Event{}, err
		}
		p = p[n:]
		if !complete {
			break
		}
		if r.messages++; r.messages > maxMessages {
			return Event{}, &AlertError{Alert: UnexpectedMessage, Class: Flood}
		}
		if r.post.head[0] == msgNewSessionTicket {
			ev.Kind = Ticket
			continue
		}
		if len(p) > 0 {
			// What follows would be under other keys (RFC 8446 §5.1).
			return Event{}, &AlertError{Alert: UnexpectedMessage, Class: Unexpected}
		}
		if r.post.body > 1 { // RFC 8446 §4.6.3
			return Event{}, &AlertError{Alert: IllegalParameter, Class: Malformed}
		}
		if err := r.Update(); err != nil {
			return Event{}, &AlertError{Alert: InternalError, Class: Exhausted}
		}
		ev = Event{Kind: Updated, Answer: r.post.body == 1}
	}
	return ev, nil
}

// renegotiation judges the first byte of a handshake record of TLS 1.2. We never
// renegotiate: the session ends (RFC 5246 §7.2.2, RFC 9325 §3.5).
func (r *Reader) renegotiation(msg byte) error {
	asked := msgClientHello
	if r.role == Client {
		asked = msgHelloRequest
	}
	if msg != asked {
		return &AlertError{Alert: UnexpectedMessage, Class: Unexpected}
	}
	return &AlertError{Alert: NoRenegotiation, Class: Unexpected}
}

// KeyUpdateMessage returns a KeyUpdate message, the body of a record of type
// [TypeHandshake] (RFC 8446 §4.6.3). Request asks the peer to update too.
// It is for records that the kernel seals; see also [Writer.AppendKeyUpdate].
func KeyUpdateMessage(request bool) [5]byte {
	m := [5]byte{msgKeyUpdate, 0, 0, 1, 0}
	if request {
		m[4] = 1
	}
	return m
}
