package cluster

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"usher.example/cluster/member"
	"usher.example/cluster/place"
)

// seatsTopic is the question who is live on a node.
const seatsTopic = "seats"

// seatsOf is that question.
type seatsOf struct {
	Pool string `json:"pool"`
	// Key is the only user who is asked about; nil: all.
	Key *place.Key `json:"key,omitempty"`
}

// seats are live users, packed: there may be a million.
type seats []member.Seated

const (
	// seatLen is a key, a back end and a number of connections.
	seatLen = 8 + 2 + 4
	// maxSeats is how many of one node are counted with; more than a node has
	// descriptors for.
	maxSeats = 1 << 20
)

var errSeats = errors.New("its list of users is malformed")

// MarshalJSON writes them as one string.
func (s seats) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(s)*seatLen)
	for _, u := range s {
		b = binary.BigEndian.AppendUint64(b, uint64(u.Key))
		b = binary.BigEndian.AppendUint16(b, u.Backend)
		b = binary.BigEndian.AppendUint32(b, uint32(u.Holds))
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(b))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *seats) UnmarshalJSON(text []byte) error {
	var packed string
	if err := json.Unmarshal(text, &packed); err != nil {
		return errSeats
	}
	b, err := base64.StdEncoding.Strict().DecodeString(packed)
	if err != nil || len(b)%seatLen != 0 || len(b)/seatLen > maxSeats {
		return errSeats
	}
	*s = make(seats, 0, len(b)/seatLen)
	for ; len(b) > 0; b = b[seatLen:] {
		holds := binary.BigEndian.Uint32(b[10:])
		if holds == 0 || holds > 1<<31-1 {
			return errSeats
		}
		*s = append(*s, member.Seated{Key: place.Key(binary.BigEndian.Uint64(b)), Backend: binary.BigEndian.Uint16(b[8:]), Holds: int(holds)})
	}
	return nil
}

// seatsHere answers the question for this node.
func (f *Fleet) seatsHere(question json.RawMessage) (seats, error) {
	var q seatsOf
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("the question is malformed: %w", err)
	}
	list := seats{}
	f.mu.Lock()
	defer f.mu.Unlock()
	if q.Key != nil {
		if u, live := f.node.Seat(q.Pool, *q.Key); live {
			list = append(list, u)
		}
		return list, nil
	}
	for u := range f.node.Seats(q.Pool) {
		if len(list) == maxSeats {
			break
		}
		list = append(list, u)
	}
	return list, nil
}

// A whereabout is a back end and how many connections a user has there.
type whereabout map[uint16]int

// seated asks all nodes who is live; a user who is on two of them is one. The error names
// nodes that are missing.
func (f *Fleet) seated(ctx context.Context, q seatsOf) (map[place.Key]whereabout, error) {
	all := make(map[place.Key]whereabout)
	var bad []error
	err := f.AskAll(ctx, seatsTopic, q, func(r Reply) {
		var list seats
		if err := json.Unmarshal(r.Data, &list); err != nil {
			bad = append(bad, fmt.Errorf("node %s: %w", r.Node, err))
			return
		}
		for _, u := range list {
			if all[u.Key] == nil {
				all[u.Key] = make(whereabout, 1)
			}
			all[u.Key][u.Backend] += u.Holds
		}
	})
	return all, errors.Join(err, errors.Join(bad...))
}
