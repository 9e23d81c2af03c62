package admin

import "net/http"

// Tickets is the order of TicketsPath: new keys of session tickets are made.
type Tickets struct {
	Drop bool   `json:"drop,omitempty"` // those of before open nothing any more
	By   string `json:"by,omitempty"`
}

func (s *Server) rotateTickets(w http.ResponseWriter, r *http.Request) {
	var o Tickets
	if !order(w, r, &o) {
		return
	}
	who, ok := by(w, o.By)
	if !ok {
		return
	}
	err := s.o.Fleet.RotateTickets(o.Drop)
	s.o.Log.Info("new keys of session tickets", "event", outcomeOf(err, "tickets_rotated", "tickets_rotate_failed"), "drop", o.Drop, "by", who, "err", err)
	s.ordered(w, err, "")
}
