package table

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"

	"usher.example/cluster/place"
)

// A Seat is a user on a back end.
type Seat struct {
	Key     place.Key
	Backend uint16
}

// Users are many seats. They are packed when they are written: there may be a
// hundred thousand.
type Users []Seat

const seatLen = 8 + 2

// MaxSeats is how many seats go into one command: packed and in JSON some 70 KB.
const MaxSeats = 5000

var errUsers = errors.New("table: packed users of a wrong length")

// MarshalJSON writes them as one string.
func (u Users) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(u)*seatLen)
	for _, s := range u {
		b = binary.BigEndian.AppendUint64(b, uint64(s.Key))
		b = binary.BigEndian.AppendUint16(b, s.Backend)
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(b))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (u *Users) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b)%seatLen != 0 {
		return errors.Join(errUsers, err)
	}
	*u = make(Users, 0, len(b)/seatLen)
	for ; len(b) > 0; b = b[seatLen:] {
		*u = append(*u, Seat{place.Key(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint16(b[8:])})
	}
	return nil
}
