package admin

import (
	"encoding/json"
	"net/http"
)

// Refusal is the body of every answer that is not 200.
type Refusal struct {
	Message string `json:"error"` // what is wrong
	Next    string `json:"next"`  // what to do about it
	// NoQuorum says that no order can be given now, as too few voters are there.
	NoQuorum bool `json:"no_quorum,omitempty"`
}

// Error names both.
func (r *Refusal) Error() string { return r.Message + "; " + r.Next }

func refuse(w http.ResponseWriter, status int, message, next string) {
	write(w, status, Refusal{Message: message, Next: next})
}

func answer(w http.ResponseWriter, v any) { write(w, http.StatusOK, v) }

func write(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// An error means that the one who asked has gone.
	_ = json.NewEncoder(w).Encode(v)
}
