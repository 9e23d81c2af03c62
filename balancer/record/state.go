package record

import (
	"encoding/binary"
	"errors"
)

// ErrState says that octets are no state of a Reader or Writer.
var ErrState = errors.New("record: not a state of this version")

// Sizes of states, which have no variable part.
const (
	keysStateLen = 2 + 4 + 8 + nonceLen + 32 + 48
	// ReaderStateLen and WriterStateLen are the sizes of what AppendState appends.
	ReaderStateLen = keysStateLen + msgHeaderLen + 1 + 1 + 4 + 6
	WriterStateLen = keysStateLen + 2
)

// appendState appends the keys: suite, updates, sequence number, IV, key, secret.
func (k *Keys) appendState(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(k.suite))
	dst = binary.BigEndian.AppendUint32(dst, k.updates)
	dst = append(dst, k.ad[:8]...)
	dst = append(dst, k.iv[:]...)
	dst = append(dst, k.key[:]...)
	return append(dst, k.secret[:]...)
}

func (k *Keys) setState(b []byte) error {
	suite := Suite(binary.BigEndian.Uint16(b))
	if suite != 0 && suite.traits().family == noFamily {
		return ErrSuite
	}
	*k = Keys{suite: suite, updates: binary.BigEndian.Uint32(b[2:])}
	b = b[6:]
	b = b[copy(k.ad[:8], b):]
	b = b[copy(k.iv[:], b):]
	b = b[copy(k.key[:], b):]
	copy(k.secret[:], b)
	return nil
}

// AppendState appends all that there is to a Reader, keys included, for another
// process that goes on with the session: see [Reader.SetState]. The octets are
// secret: clear them after use, and wipe the Reader.
func (r *Reader) AppendState(dst []byte) []byte {
	dst = r.Keys.appendState(dst)
	dst = append(dst, r.post.head[:]...)
	dst = append(dst, r.post.have, r.post.body)
	dst = binary.BigEndian.AppendUint32(dst, r.post.left)
	return append(dst, byte(r.role), byte(r.state), r.empty, r.messages, byte(r.alert), byte(r.class))
}

// SetState makes r the Reader that appended b, [ReaderStateLen] octets. It copies
// what it needs.
func (r *Reader) SetState(b []byte) error {
	if len(b) != ReaderStateLen {
		return ErrState
	}
	var n Reader
	if err := n.Keys.setState(b[:keysStateLen]); err != nil {
		return err
	}
	b = b[keysStateLen:]
	b = b[copy(n.post.head[:], b):]
	n.post.have, n.post.body, n.post.left = b[0], b[1], binary.BigEndian.Uint32(b[2:])
	b = b[6:]
	n.role, n.state, n.empty, n.messages = Role(b[0]), state(b[1]), b[2], b[3]
	n.alert, n.class = Alert(b[4]), Class(b[5])
	if n.role > Client || n.state > stateDead || n.post.have > msgHeaderLen || n.post.left > maxMessage {
		return ErrState
	}
	*r = n
	return nil
}

// AppendState is as for a Reader.
func (w *Writer) AppendState(dst []byte) []byte {
	return append(w.Keys.appendState(dst), flag(w.owed), flag(w.closed))
}

// SetState is as for a Reader; b has [WriterStateLen] octets.
func (w *Writer) SetState(b []byte) error {
	if len(b) != WriterStateLen || b[keysStateLen] > 1 || b[keysStateLen+1] > 1 {
		return ErrState
	}
	var n Writer
	if err := n.Keys.setState(b[:keysStateLen]); err != nil {
		return err
	}
	n.owed, n.closed = b[keysStateLen] == 1, b[keysStateLen+1] == 1
	*w = n
	return nil
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}
