package cluster

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Print names a version without telling anything of it: two files can be compared
// by it, and nodes do.
func (s Secret) Print() string { return hex.EncodeToString(s.derive("print", 4)) }

func prints(list []Secret) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = s.Print()
	}
	return out
}

// SetSecrets takes up another content of the secret file while the fleet runs. What
// is new is believed at once, the first is used from now on, and what is not there
// any more is believed no more: whoever came in by it is disconnected. A step that
// would part this node from others that are there is refused, and nothing changes.
func (f *Fleet) SetSecrets(list []Secret) error {
	f.rotating.Lock()
	defer f.rotating.Unlock()
	if f.port == nil || slices.Equal(list, *f.secrets.Load()) {
		return nil
	}
	if err := f.mayTake(list); err != nil {
		return fmt.Errorf("fleet secret: %w", err)
	}
	id, err := newIdentity(f.o.Node, list)
	if err != nil {
		return fmt.Errorf("fleet secret: %w", err)
	}
	ring := f.ring
	for _, s := range list {
		err = errors.Join(err, ring.AddKey(s.derive("gossip", 32)))
	}
	if err = errors.Join(err, ring.UseKey(list[0].derive("gossip", 32))); err != nil {
		return fmt.Errorf("fleet secret: %w", err) // never: the keys have the right size
	}
	before := *f.secrets.Load()
	f.secrets.Store(&list)
	f.port.use(id)
	for _, s := range before {
		if !slices.Contains(list, s) {
			_ = ring.RemoveKey(s.derive("gossip", 32)) // it is not the one in use
		}
	}
	f.api.CloseIdleConnections()
	f.mu.Lock()
	f.learn()
	if s := f.table.Settings; s.Number > 0 {
		_, fresh, err := f.openMapKey(s.MapKey)
		f.reseal = err == nil && !fresh
	}
	f.mu.Unlock()
	f.tellManager()
	f.tell()
	f.sealAnew()
	f.log.Info("the fleet's secret is another", "versions", len(list), "used", list[0].Print(), "event", "secret_changed")
	return nil
}

// mayTake says why a content must not be taken up now.
func (f *Fleet) mayTake(list []Secret) error {
	if len(list) == 0 {
		return errNoSecret
	}
	before := *f.secrets.Load()
	if !slices.ContainsFunc(list, func(s Secret) bool { return slices.Contains(before, s) }) {
		return errors.New("the file has no version that this node uses or believes: it would be alone with it; usher fleet secret --rotate exchanges it step by step")
	}
	now := prints(list)
	var without, behind []string
	alive := f.alive()
	for _, name := range sortedKeys(alive) {
		theirs := alive[name].Secrets
		if name == f.o.Node || len(theirs) == 0 {
			continue
		}
		if !slices.Contains(theirs, now[0]) {
			without = append(without, name)
		}
		if !slices.Contains(now, theirs[0]) {
			behind = append(behind, name)
		}
	}
	if len(without) > 0 {
		return fmt.Errorf("the first version is not known to %s yet: bring the file of the step before there and reload; some seconds later try again", strings.Join(without, ", "))
	}
	if len(behind) > 0 {
		return fmt.Errorf("what %s uses is not in the file: bring the file of the step before there and reload; some seconds later try again", strings.Join(behind, ", "))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.mayUnseal(before, list); err != nil {
		return err
	}
	lost := f.losesTickets(before, list)
	if s := f.table.Settings; s.Number > 0 {
		_, _, before := openMapKey(before, s.MapKey)
		if _, _, now := openMapKey(list, s.MapKey); before == nil && now != nil || lost {
			return errors.New("the table is sealed with a version that is not in the file any more: the leader seals it anew once it uses the new one; try again when usher fleet status shows a quorum")
		}
	}
	return nil
}

// use has connections made by another identity. Those that came in by a version of
// the secret that is believed no more are closed: their owners come again.
func (p *port) use(id *identity) {
	p.mu.Lock()
	p.id.Store(id)
	var gone []net.Conn
	for c, by := range p.open {
		if by != "" && !id.ids[by] {
			gone = append(gone, c)
		}
	}
	p.mu.Unlock()
	for _, c := range gone {
		_ = c.Close()
	}
}

// believe notes by which version of the secret somebody came in, and says whether
// that is believed still: it may have been given up during the handshake.
func (p *port) believe(c net.Conn, state tls.ConnectionState) bool {
	in, ok := c.(incoming)
	chains := state.VerifiedChains
	if !ok || len(chains) == 0 {
		return false
	}
	by := string(chains[0][len(chains[0])-1].SubjectKeyId)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, there := p.open[in.Conn]; there {
		p.open[in.Conn] = by
	}
	return p.id.Load().ids[by]
}
