package handshake

import (
	"fmt"

	"usher.example/balancer/record"
)

// A State is all there is to a session: who has it goes on with the session.
type State struct {
	Raw    Raw
	Role   record.Role // ours
	Reader record.Reader
	Writer record.Writer // a KeyUpdate may be due

	// Sealed is the beginning of a record, read and not opened yet; the rest of
	// it comes from Raw, and it is less than a whole record.
	Sealed []byte
	// Plain is data that was opened and not read yet. It comes before all that
	// is still to be read. Sealed and Plain are not both there.
	Plain []byte
	// Closed says that the peer's close_notify has come.
	Closed bool
}

// Detach takes the session out of the Conn, which is dead from then on and has
// no part in closing Raw. No call may be under way. It returns false, and changes
// nothing, if there is nothing to go on with: the session is on crypto/tls, or
// either direction has failed, or CloseWrite was called.
func (c *Conn) Detach() (State, bool) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.tls != nil || c.reader.Suite() == 0 || c.writer.Suite() == 0 || c.writeErr != nil {
		return State{}, false
	}
	if !c.gone.CompareAndSwap(false, true) {
		return State{}, false
	}
	if c.asked.Swap(false) {
		c.writer.Owe()
	}
	s := State{
		Raw: c.raw, Role: c.role, Reader: c.reader, Writer: c.writer,
		Plain: c.unread, Closed: c.readErr != nil,
	}
	if len(s.Plain) == 0 && len(c.in) > 0 {
		s.Sealed = c.in
	}
	c.in = nil // it is the State's now
	c.wipe()
	c.state.Store(nil)
	return s, true
}

// Wipe forgets keys and data. It does not close Raw.
func (s *State) Wipe() {
	clear(s.Plain)
	s.Reader.Wipe()
	s.Writer.Wipe()
	*s = State{Raw: s.Raw}
}

// Format prints no keys and no data, whatever the verb.
func (State) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, "handshake.State") }
