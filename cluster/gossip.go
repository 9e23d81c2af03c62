package cluster

import (
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"
)

const (
	// rejoinEvery is the time between two attempts to find a member that is not
	// there: memberlist never heals a partition by itself.
	rejoinEvery = 10 * time.Second
	// packetSize keeps gossip within an Ethernet frame.
	packetSize = 1400
	// peersFile lists the addresses of known members, for a start.
	peersFile = "peers"
)

// A meta is what gossip tells of a node, in less than 512 octets.
type meta struct {
	Dir     string `json:"d"`
	State   bool   `json:"s"` // it has a log
	Witness bool   `json:"w,omitempty"`
	Version int    `json:"v"`
	Fleet   string `json:"f,omitempty"` // that its state is of
	// Secrets are the versions of the secret that it has, by Print, the one in use
	// first.
	Secrets []string `json:"k,omitempty"`
	// Pins is the print of its pins files; empty until it has read them.
	Pins string `json:"p,omitempty"`
}

// openGossip opens membership. Joining is rejoin's, for ever.
func (f *Fleet) openGossip() error {
	c := memberlist.DefaultLANConfig()
	c.Name = f.o.Node
	c.Label = f.o.Fleet
	c.Transport = f.port
	c.ProbeInterval, c.ProbeTimeout = 500*time.Millisecond, 200*time.Millisecond
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = 3, 2
	c.GossipInterval, c.GossipNodes = 100*time.Millisecond, 3
	c.UDPBufferSize = packetSize
	c.EnableCompression = false
	c.AdvertiseAddr, c.AdvertisePort = f.port.advertise.IP.String(), f.port.advertise.Port
	c.Delegate = (*delegate)(f)
	c.Events = (*delegate)(f)
	c.DeadNodeReclaimTime = time.Second // a node that comes back under another address
	c.Logger = log.New(labels{f.port}, "", 0)
	keys := make([][]byte, 0, MaxSecrets)
	for _, s := range *f.secrets.Load() {
		keys = append(keys, s.derive("gossip", 32))
	}
	ring, err := memberlist.NewKeyring(keys[1:], keys[0])
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	c.Keyring, f.ring = ring, ring
	if f.gossip, err = memberlist.Create(c); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	return nil
}

// A delegate answers memberlist. It never blocks.
type delegate Fleet

// NodeMeta implements memberlist.Delegate.
func (d *delegate) NodeMeta(int) []byte {
	f := (*Fleet)(d)
	m := meta{Dir: f.dir.id, State: !f.fresh(), Witness: f.o.Witness, Version: 1, Fleet: f.stamped.Load().id, Secrets: prints(*f.secrets.Load())}
	if mark := f.pinsMark.Load(); mark != nil {
		m.Pins = *mark
	}
	b, _ := json.Marshal(m) // plain values: never fails
	return b
}

// NotifyMsg implements memberlist.Delegate: nothing is sent by gossip.
func (*delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (*delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (*delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (*delegate) MergeRemoteState([]byte, bool) {}

// NotifyJoin implements memberlist.EventDelegate.
func (d *delegate) NotifyJoin(n *memberlist.Node) { (*Fleet)(d).seen("joined", n) }

// NotifyLeave implements memberlist.EventDelegate.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	f := (*Fleet)(d)
	f.peersMu.Lock()
	delete(f.peers, n.Name)
	f.peersMu.Unlock()
	if n.Name != f.o.Node {
		f.log.Info("a node left", "event", "node_absent", "peer", n.Name, "address", n.Address())
	}
	f.wake()
}

// NotifyUpdate implements memberlist.EventDelegate.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { (*Fleet)(d).seen("", n) }

// seen notes what gossip tells of a node. What memberlist shows of a node may
// change once the hook returns.
func (f *Fleet) seen(what string, n *memberlist.Node) {
	var m meta
	if json.Unmarshal(n.Meta, &m) == nil && m.Dir != "" {
		f.peersMu.Lock()
		f.peers[n.Name] = peer{n.Address(), m}
		f.peersMu.Unlock()
		f.port.meet(n.Address())
	}
	if n.Name != f.o.Node && what != "" {
		f.log.Info("a node "+what, "event", "node_present", "peer", n.Name, "address", n.Address())
	}
	f.wake()
}

// alive lists the nodes that gossip sees, this one included.
func (f *Fleet) alive() map[string]peer {
	f.peersMu.Lock()
	defer f.peersMu.Unlock()
	return maps.Clone(f.peers)
}

type peer struct {
	address string
	meta
}

// gather finds the other nodes, again and again, and starts the fleet when it is
// new.
func (f *Fleet) gather() {
	if f.gossip == nil {
		return
	}
	known := f.readPeers()
	var term uint64
	for {
		_, leader := f.raft.LeaderWithID()
		now := f.raft.CurrentTerm()
		f.rejoin(known, leader == "" || now != term)
		term = now
		for name, p := range f.alive() {
			if known[name] != p.address && name != f.o.Node {
				known[name] = p.address
				f.keepPeers(known)
			}
		}
		pause := rejoinEvery*8/10 + rand.N(rejoinEvery*4/10)
		if f.fresh() {
			pause = time.Second
			f.begin()
		}
		select {
		case <-f.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// rejoin asks one absent member, or while nobody is there everybody that the
// configuration names. If the fleet was shaken one that is there is asked as well: who
// was started anew before that was noticed may know nothing of this node, and gossip
// tells him within half a minute only.
func (f *Fleet) rejoin(known map[string]string, shaken bool) {
	alive := f.alive()
	var absent, present []string
	for name, address := range known {
		if _, there := alive[name]; !there {
			absent = append(absent, address)
		}
	}
	for name, p := range alive {
		if name != f.o.Node {
			present = append(present, p.address)
		}
	}
	if len(absent) > 0 {
		absent = []string{absent[rand.IntN(len(absent))]}
	}
	if len(alive) <= 1 || f.missing(alive) {
		absent = append(absent, f.addresses()...)
	}
	if shaken && len(present) > 0 {
		absent = append(absent, present[rand.IntN(len(present))])
	}
	slices.Sort(absent)
	if absent = slices.Compact(absent); len(absent) > 0 {
		_, _ = f.gossip.Join(absent) // who is not there is asked again
	}
}

// missing says whether a voter is not there that has never been seen.
func (f *Fleet) missing(alive map[string]peer) bool {
	for _, v := range f.o.Voters {
		if _, ok := alive[v]; !ok {
			return true
		}
	}
	return false
}

// addresses are those that the configuration names, looked up anew.
func (f *Fleet) addresses() []string {
	_, own, _ := net.SplitHostPort(f.o.Bind)
	var list []string
	for _, j := range f.o.Join {
		host, port, err := net.SplitHostPort(j)
		if err != nil {
			host, port = j, own
		}
		ips, err := net.DefaultResolver.LookupHost(f.ctx, host)
		if err != nil {
			continue
		}
		for _, ip := range ips {
			list = append(list, net.JoinHostPort(ip, port))
			f.port.meet(list[len(list)-1])
		}
	}
	return list
}

// begin starts a new fleet when all voters are there and none of them has a log:
// the first of them by name does.
func (f *Fleet) begin() {
	if f.o.Node != slices.Min(f.o.Voters) {
		return
	}
	alive := f.alive()
	var servers []raft.Server
	for _, v := range f.o.Voters {
		p, ok := alive[v]
		if !ok || p.State {
			return
		}
		if v != f.o.Node {
			// Gossip may be late: it asks the node itself.
			var is freshness
			if f.send(p.address, "/v1/fresh", struct{}{}, &is) != nil || !is.Fresh || is.Dir != p.Dir {
				return
			}
		}
		servers = append(servers, raft.Server{ID: serverID(v, p.Dir), Address: raft.ServerAddress(p.address)})
	}
	if err := f.raft.BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		f.log.Warn("the fleet could not be started", "event", "fleet_start_failed", "err", err)
		return
	}
	f.log.Info("the fleet is started", "event", "fleet_started", "voters", strings.Join(f.o.Voters, " "))
	f.tell()
}

// tell has gossip spread what is new of us. One at a time: memberlist reads its own
// node outside its lock (UpdateNode), where another call may just be writing it.
func (f *Fleet) tell() {
	if f.gossip != nil {
		f.telling.Lock()
		defer f.telling.Unlock()
		_ = f.gossip.UpdateNode(time.Second) // it is told again with every push and pull
	}
}

func (f *Fleet) readPeers() map[string]string {
	known := make(map[string]string)
	text, _ := os.ReadFile(filepath.Join(f.dir.path, peersFile)) // none is fine
	for line := range strings.Lines(string(text)) {
		if name, address, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			known[name] = address
		}
	}
	return known
}

func (f *Fleet) keepPeers(known map[string]string) {
	var b strings.Builder
	for _, name := range sortedKeys(known) {
		b.WriteString(name + " " + known[name] + "\n")
	}
	if err := f.dir.write(peersFile, b.String()); err != nil {
		f.log.Warn("known nodes are not kept", "event", "peers_not_kept", "err", err)
	}
}
