package table

import "strings"

// A Fence has a command do nothing if a lock is not had any more: who was cut off and
// has lost it must not overwrite what the next holder stores. Without a name there is
// none.
type Fence struct {
	Lock  string `json:"lock,omitempty"`
	Nonce uint64 `json:"nonce,omitempty"`
}

func (c Fence) check(t *Table) error {
	if c.Lock != "" && t.Locks[c.Lock].Nonce != c.Nonce {
		return ErrNotLocked
	}
	return nil
}

// Commands about values. Base is Table.LastValue as who sends them has seen it: what
// has been stored since is left alone, and what has been removed since stays away, so that
// a late or double command does not bring an old value back. Who means it says it again.
type (
	// Put stores a value.
	Put struct {
		Key    string `json:"key"`
		Base   uint64 `json:"base"`
		By     string `json:"by"`
		Sealed []byte `json:"sealed"`
		At     int64  `json:"at"`
		Fence
	}
	// Remove removes a value, or all values in a directory.
	Remove struct {
		Key  string `json:"key"`
		Base uint64 `json:"base"`
		Fence
	}
	// Reseal puts the same value in the place of one that was sealed with a secret
	// which is on its way out. To readers it is no change.
	Reseal struct {
		Key    string `json:"key"`
		Number uint64 `json:"number"` // of the value
		By     string `json:"by"`
		Sealed []byte `json:"sealed"`
	}
)

func (Put) kind() string    { return "put" }
func (Remove) kind() string { return "remove" }
func (Reseal) kind() string { return "reseal" }

func (c Put) apply(t *Table, _ uint64) error {
	if err := c.check(t); err != nil {
		return err
	}
	v := Value{Number: t.LastValue + 1, Modified: c.At, By: c.By, Sealed: c.Sealed}
	before, ok := t.Values.Find(c.Key)
	if ok && before.Number > c.Base || !ok && t.Removed[removedOf(c.Key)] > c.Base {
		return ErrLate
	}
	if err := t.Values.check(c.Key, v); err != nil {
		return err
	}
	if err := t.Values.room(c.Key, v); err != nil {
		return err
	}
	t.LastValue++
	t.Values.put(c.Key, v)
	return nil
}

func (c Remove) apply(t *Table, _ uint64) error {
	if err := c.check(t); err != nil {
		return err
	}
	if err := CheckKey(c.Key); err != nil {
		return err
	}
	var gone []string
	if v, ok := t.Values.Find(c.Key); ok && v.Number <= c.Base {
		gone = append(gone, c.Key)
	}
	if t.Values.Dir(c.Key) {
		for key, v := range t.Values.Any() {
			if strings.HasPrefix(key, c.Key+"/") && v.Number <= c.Base {
				gone = append(gone, key)
			}
		}
	}
	if len(gone) == 0 {
		return ErrLate
	}
	t.LastValue++ // whoever watches has to look
	for _, key := range gone {
		t.Values.remove(key)
		t.Removed[removedOf(key)] = t.LastValue
	}
	return nil
}

func (c Reseal) apply(t *Table, _ uint64) error {
	v, ok := t.Values.Find(c.Key)
	if !ok || v.Number != c.Number {
		return ErrLate
	}
	v.By, v.Sealed = c.By, c.Sealed
	if err := t.Values.check(c.Key, v); err != nil {
		return err
	}
	if err := t.Values.room(c.Key, v); err != nil { // of the same length there is
		return err
	}
	t.Values.put(c.Key, v)
	return nil
}
