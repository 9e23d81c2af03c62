package certstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher.example/cluster/table"
)

// A clause is what certmagic's storage.go says, and how it is held: by a test, or by
// nobody for a reason.
type clause struct {
	says []string
	hold func(c *contract)
	why  string
}

// A contract is a test of a clause: on a node, with what another does or sees. Of a
// fleet of one that is the same. Keys begin with a prefix of its own.
type contract struct {
	*testing.T
	here, there *node
	prefix      string
}

func (c *contract) key(name string) string { return c.prefix + "/" + name }

func (c *contract) store(n *node, name, value string) {
	c.Helper()
	c.written(func() error { return n.Store.Store(c.Context(), c.key(name), []byte(value)) })
}

// written makes a write, after which every node reads it. A write waits a second for
// others; on a machine that is too busy for that, they catch up here.
func (c *contract) written(write func() error) {
	c.Helper()
	began := time.Now()
	if err := write(); err != nil {
		c.Error(err)
	}
	if took := time.Since(began); took >= time.Second {
		c.Logf("a write took %v", took)
		if err := errors.Join(c.here.fleet.Fresh(c.Context()), c.there.fleet.Fresh(c.Context())); err != nil {
			c.Error(err)
		}
	}
}

// has wants a value on a node; empty is none.
func (c *contract) has(n *node, name, want string) {
	c.Helper()
	got, err := n.Load(c.Context(), c.key(name))
	if want == "" && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil || want == "" || string(got) != want {
		c.Errorf("%s at %s is %q, %v; want %q", name, n.o.Node, got, err, want)
	}
}

// lists wants keys in a directory, on both nodes.
func (c *contract) lists(dir string, recursive bool, want ...string) {
	c.Helper()
	for _, n := range []*node{c.here, c.there} {
		got, err := n.List(c.Context(), c.key(dir), recursive)
		for i, key := range got {
			got[i] = strings.TrimPrefix(key, c.prefix+"/")
		}
		if err != nil || !slices.Equal(got, want) {
			c.Errorf("List(%q, %t) at %s: %q, %v; want %q", dir, recursive, n.o.Node, got, err, want)
		}
	}
}

func (c *contract) delete(name string) {
	c.Helper()
	c.written(func() error { return c.here.Delete(c.Context(), c.key(name)) })
}

func (c *contract) lock(n *node) {
	c.Helper()
	if err := n.Lock(c.Context(), c.prefix); err != nil {
		c.Error(err)
	}
}

func (c *contract) unlock(n *node) {
	c.Helper()
	if err := n.Unlock(c.Context(), c.prefix); err != nil {
		c.Error(err)
	}
}

const (
	defines = "it says what a word means"
	callers = "it is for who calls"
	reasons = "it says why, or gives an example"
)

var clauses = []clause{
	{why: defines, says: []string{
		`A "file" is a key with a value associated with it.`,
		`Locker enables the storage backend to synchronize operational units of work.`,
		`Locker facilitates synchronization across machines and networks.`,
		`KeyInfo holds information about a key in storage.`,
		`LockLeaseRenewer is an optional interface that can be implemented by a Storage implementation to support renewing the lease on a lock.`,
	}},
	{why: callers, says: []string{
		`Processes running in a cluster should use the same Storage value (with the same configuration) in order to share certificates and other TLS resources with the cluster.`,
		`The use of Locker is NOT employed around every Storage method call (Store, Load, etc), as these should already be thread-safe.`,
		`As not all Locker implementations use fencing tokens, code relying upon Locker must be tolerant of some mis-synchronizations but can expect them to be rare.`,
		`This interface should only be used for coordinating expensive operations across nodes in a cluster; not for internal, extremely short-lived, or high-contention locks.`,
		`If the named lock represents an idempotent operation, callers should always check to make sure the work still needs to be completed after acquiring the lock.`,
		`This method must ONLY be called after a successful call to Lock, and only after the critical section is finished, even if it errored or timed out.`,
		`This method must ONLY be called after a successful call to TryLock, and only after the critical section is finished, even if it errored or timed out.`,
	}},
	{why: reasons, says: []string{
		`For example, CertMagic uses the Locker interface to coordinate the obtaining of certificates.`,
		`For example, the default FileStorage writes a timestamp to the lock file every few seconds, and if another node acquiring the lock sees that timestamp is too old, it may assume the lock is stale.`,
		`You never know if another process already completed the task while you were waiting to acquire it.`,
		`This is useful for long-running operations that need to be synchronized across a cluster.`,
		`Setting them will make certain operations more consistent or predictable, but it is not crucial to basic functionality.`,
	}},
	{hold: (*contract).strictKeys, says: []string{
		`Keys use the forward slash '/' to separate path components and have no leading or trailing slashes.`,
	}},
	{hold: (*contract).tree, says: []string{
		`Storage is a type that implements a key-value store with basic file system (folder path) semantics.`,
		`A "prefix" of a key is defined on a component basis, e.g. "a" is a prefix of "a/b" but not "ab/c".`,
		`A "directory" is a key with no value, but which may be the prefix of other keys.`,
		`Keys passed into Load and Store always have "file" semantics, whereas "directories" are only implicit by leading up to the file.`,
		`Exists returns true if the key exists either as a directory (prefix to other keys) or a file, and there was no error checking.`,
		`List returns all keys in the given path.`,
		`If recursive is true, non-terminal keys will be enumerated (i.e. "directories" should be walked); otherwise, only keys prefixed exactly by prefix will be listed.`,
	}},
	{hold: (*contract).missing, says: []string{
		`The Load, List, and Stat methods should return fs.ErrNotExist if the key does not exist.`,
	}},
	{hold: (*contract).overwrite, says: []string{
		`Store puts value at key.`,
		`It creates the key if it does not exist and overwrites any existing value at this key.`,
		`Load retrieves the value at key.`,
	}},
	{hold: (*contract).deletes, says: []string{
		`Delete deletes the named key.`,
		`Delete is different: see its method comment (missing keys are not an error).`,
		`If the name is a directory (i.e. prefix of other keys), all keys prefixed by this key should be deleted.`,
		`It is not an error if the key does not exist (including when it was already deleted); return nil in that case.`,
		`Return an error only if the key still exists when the method returns (the delete did not fully apply).`,
	}},
	{hold: (*contract).stat, says: []string{
		`Stat returns information about key.`,
		`Key and IsTerminal are required; Modified and Size are optional if the storage implementation is not able to get that information.`,
		`false for directories (keys that act as prefix for other keys)`,
	}},
	{hold: (*contract).concurrent, says: []string{
		`Implementations of Storage MUST be safe for concurrent use and honor context cancellations.`,
	}},
	{hold: (*contract).ownWrites, says: []string{
		`Methods should block until their operation is complete; that is, Load() should always return the value from the last call to Store() for a given key, and concurrent calls to Store() should not corrupt a file.`,
	}},
	{hold: (*contract).large, says: []string{
		`For simplicity, this is not a streaming API and is not suitable for very large files.`,
	}},
	{hold: (*contract).exclusion, says: []string{
		`Locker is used for high-level jobs or transactions that need synchronization across a cluster; it's a simple distributed lock.`,
		`It essentially provides a distributed named-mutex service so that multiple consumers can coordinate tasks and share resources.`,
		`Only one lock for the given name can exist at a time.`,
	}},
	{hold: (*contract).blocks, says: []string{
		`Lock acquires the lock for name, blocking until the lock can be obtained or an error is returned.`,
		`A call to Lock for a name which already exists blocks until the named lock is released or becomes stale.`,
		`Unlock releases named lock.`,
	}},
	{hold: (*contract).cancelled, says: []string{
		`Implementations should honor context cancellation.`,
	}},
	{hold: (*contract).unlocks, says: []string{
		`Unlock cleans up any resources allocated during Lock.`,
		`Unlock cleans up any resources allocated during TryLock.`,
		`Unlock should only return an error if the lock was unable to be released.`,
	}},
	{hold: (*contract).tries, says: []string{
		`TryLock attempts to acquire the lock for name, and returns a boolean that reports whether the lock was successfully aquired or not along with any errors that may have occurred.`,
	}},
	{hold: (*contract).renews, says: []string{
		`RenewLockLease renews the lease on the lock for the given lockKey for the given leaseDuration.`,
		`This is used to prevent the lock from being acquired by another process.`,
	}},
	{why: "TestHolderDies and TestLeaderDies hold it, with nonces for fencing", says: []string{
		`If possible, a Locker should implement a coordinated distributed locking mechanism by generating fencing tokens (see https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html).`,
		`This typically requires a central server or consensus algorithm However, if that is not feasible, Lockers may implement an alternative mechanism that uses timeouts to detect node or network failures and avoid deadlocks.`,
	}},
}

// TestEverySentence wants each sentence to be in a clause, so that a new certmagic does
// not bring one that nobody has read.
func TestEverySentence(t *testing.T) {
	left := make(map[string]bool)
	for _, s := range sentences(t) {
		left[s] = true
	}
	if len(left) < 40 {
		t.Fatalf("only %d sentences: the file was not read rightly", len(left))
	}
	for _, c := range clauses {
		for _, s := range c.says {
			if !left[s] {
				t.Errorf("certmagic does not say: %s", s)
			}
			delete(left, s)
		}
	}
	for s := range maps.Keys(left) {
		t.Errorf("certmagic says: %s", s)
	}
}

// TestContract holds all clauses on each node of a fleet of three, and on a fleet of one.
func TestContract(t *testing.T) {
	alone, nodes := single(t), trio(t)
	for i, here := range append(slices.Clip(nodes), alone) {
		there := alone
		if here != alone {
			there = nodes[(i+1)%len(nodes)]
		}
		for j, c := range clauses {
			if c.hold == nil {
				continue
			}
			t.Run(fmt.Sprintf("%s/%.50s", here.o.Node, c.says[0]), func(t *testing.T) {
				t.Parallel()
				c.hold(&contract{t, here, there, fmt.Sprintf("n%d/c%d", i, j)})
			})
		}
	}
}

func (c *contract) strictKeys() {
	for _, name := range []string{"", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "../../etc/passwd", "a\x00", "a\nb", "a\xff"} {
		if err := c.here.Store.Store(c.Context(), name, nil); !errors.Is(err, table.ErrKey) {
			c.Errorf("Store at %q: %v", name, err)
		}
		if err := c.here.Delete(c.Context(), name); !errors.Is(err, table.ErrKey) {
			c.Errorf("Delete of %q: %v", name, err)
		}
		if _, err := c.here.Load(c.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			c.Errorf("Load of %q: %v", name, err)
		}
	}
}

func (c *contract) tree() {
	c.store(c.here, "a/b/1", "x")
	c.store(c.here, "a/b/2", "x")
	c.store(c.here, "a/3", "x")
	c.store(c.here, "ab/c", "x")
	for name, want := range map[string]bool{"a": true, "a/b": true, "a/b/1": true, "ab": true, "a/b/": false, "a/b/1/x": false, "b": false, "a/": false} {
		for _, n := range []*node{c.here, c.there} {
			if got := n.Exists(c.Context(), c.key(name)); got != want {
				c.Errorf("%q exists at %s: %t", name, n.o.Node, got)
			}
		}
	}
	c.lists("a", false, "a/3", "a/b")
	c.lists("a", true, "a/3", "a/b", "a/b/1", "a/b/2")
	c.lists("a/b", false, "a/b/1", "a/b/2")
	c.lists("a/3", true)
	c.has(c.there, "a/b", "")
	for _, name := range []string{"a/b", "a", "a/3/x"} {
		if err := c.here.Store.Store(c.Context(), c.key(name), nil); !errors.Is(err, table.ErrBelow) {
			c.Errorf("Store at %q, which is a directory or is below a file: %v", name, err)
		}
	}
	c.delete("a/b/1")
	c.delete("a/b/2")
	c.lists("a", true, "a/3")
}

func (c *contract) missing() {
	for _, name := range []string{"none", "none/below"} {
		_, load := c.here.Load(c.Context(), c.key(name))
		_, list := c.here.List(c.Context(), c.key(name), true)
		_, stat := c.here.Stat(c.Context(), c.key(name))
		for _, err := range []error{load, list, stat} {
			if !errors.Is(err, fs.ErrNotExist) {
				c.Errorf("%s: %v, want fs.ErrNotExist", name, err)
			}
		}
	}
}

func (c *contract) overwrite() {
	c.store(c.here, "a", "first")
	c.has(c.here, "a", "first")
	c.store(c.here, "a", "second, and longer")
	c.has(c.there, "a", "second, and longer")
	binary := bytes.Repeat([]byte{0, 1, 255}, 1000)
	c.store(c.there, "a", string(binary))
	c.has(c.here, "a", string(binary))
	c.store(c.here, "empty", "")
	if got, err := c.there.Load(c.Context(), c.key("empty")); err != nil || len(got) != 0 {
		c.Errorf("an empty value is %q, %v", got, err)
	}
}

func (c *contract) deletes() {
	for _, name := range []string{"d/1", "d/e/2", "de"} {
		c.store(c.there, name, "x")
	}
	c.delete("d")
	c.has(c.there, "d/1", "")
	c.has(c.there, "d/e/2", "")
	c.has(c.there, "de", "x")
	if c.there.Exists(c.Context(), c.key("d")) {
		c.Error("the directory exists after it was deleted")
	}
	c.delete("d")
	c.delete("never")
	c.delete("de")
	c.has(c.there, "de", "")
	c.store(c.there, "de", "again")
	c.has(c.here, "de", "again")
	ended, end := context.WithCancel(c.Context())
	end()
	if err := c.here.Delete(ended, c.key("de")); err == nil {
		c.Error("no error, and it exists still")
	}
	c.has(c.here, "de", "again")
}

func (c *contract) stat() {
	began := time.Now()
	c.store(c.there, "dir/file", "12345")
	i, err := c.here.Stat(c.Context(), c.key("dir/file"))
	if err != nil || i.Key != c.key("dir/file") || !i.IsTerminal || i.Size != 5 || i.Modified.Before(began) || i.Modified.After(time.Now()) {
		c.Errorf("a file: %+v, %v", i, err)
	}
	i, err = c.here.Stat(c.Context(), c.key("dir"))
	if err != nil || i.Key != c.key("dir") || i.IsTerminal {
		c.Errorf("a directory: %+v, %v", i, err)
	}
}

func (c *contract) concurrent() {
	c.store(c.here, "there", "x")
	ended, end := context.WithCancel(c.Context())
	end()
	_, load := c.here.Load(ended, c.key("there"))
	_, list := c.here.List(ended, c.prefix, true)
	_, stat := c.here.Stat(ended, c.key("there"))
	for what, err := range map[string]error{
		"Load": load, "List": list, "Stat": stat, "Store": c.here.Store.Store(ended, c.key("a"), nil),
		"Delete": c.here.Delete(ended, c.key("there")), "Lock": c.here.Lock(ended, c.prefix),
	} {
		if !errors.Is(err, context.Canceled) {
			c.Errorf("%s with a context that has ended: %v", what, err)
		}
	}
	c.has(c.there, "a", "")
}

func (c *contract) ownWrites() {
	// Each writes values of one letter: what is mixed is corrupt. Meanwhile everybody
	// reads.
	var wg sync.WaitGroup
	for i, n := range []*node{c.here, c.there, c.here, c.there} {
		wg.Go(func() {
			for j := range 5 {
				c.store(n, "same", strings.Repeat(string(rune('a'+i)), 1000+j))
				c.store(n, fmt.Sprintf("own%d", i), fmt.Sprint(j))
				for _, reader := range []*node{c.here, c.there} {
					c.has(reader, fmt.Sprintf("own%d", i), fmt.Sprint(j))
					got, err := reader.Load(c.Context(), c.key("same"))
					if err != nil || len(got) < 1000 || strings.Trim(string(got), string(got[:1])) != "" {
						c.Errorf("a value that several write: %.20q, %v", got, err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func (c *contract) large() {
	chain := strings.Repeat("certificate ", 8000)
	c.store(c.here, "chain", chain)
	c.has(c.there, "chain", chain)
	if err := c.here.Store.Store(c.Context(), c.key("film"), make([]byte, table.MaxValue)); !errors.Is(err, table.ErrTooLarge) {
		c.Errorf("a very large file: %v", err)
	}
}

func (c *contract) exclusion() {
	var wg sync.WaitGroup
	var in, rounds atomic.Int64
	for _, n := range []*node{c.here, c.there, c.here, c.there} {
		wg.Go(func() {
			for range 3 {
				c.lock(n)
				if in.Add(1) != 1 {
					c.Error("two have the lock")
				}
				// A counter that only who has the lock may change.
				was, err := n.Load(c.Context(), c.key("count"))
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					c.Error(err)
				}
				c.store(n, "count", string(was)+"x")
				rounds.Add(1)
				in.Add(-1)
				c.unlock(n)
			}
		})
	}
	wg.Wait()
	c.has(c.here, "count", strings.Repeat("x", int(rounds.Load())))
}

func (c *contract) blocks() {
	for _, n := range []*node{c.here, c.there} {
		c.lock(c.here)
		got := make(chan error, 1)
		go func() { got <- n.Lock(c.Context(), c.prefix) }()
		select {
		case err := <-got:
			c.Fatalf("%s has a lock that is held: %v", n.o.Node, err)
		case <-time.After(100 * time.Millisecond):
		}
		c.unlock(c.here)
		select {
		case err := <-got:
			if err != nil {
				c.Fatal(err)
			}
		case <-time.After(patience):
			c.Fatalf("%s does not get a lock that was released", n.o.Node)
		}
		c.unlock(n)
	}
}

func (c *contract) cancelled() {
	c.lock(c.here)
	for _, n := range []*node{c.here, c.there} {
		ctx, cancel := context.WithTimeout(c.Context(), 50*time.Millisecond)
		if err := n.Lock(ctx, c.prefix); !errors.Is(err, context.DeadlineExceeded) {
			c.Errorf("Lock when the time was over: %v", err)
		}
		cancel()
	}
	if err := c.here.RenewLockLease(c.Context(), c.prefix, time.Minute); err != nil {
		c.Errorf("who waited in vain has done harm: %v", err)
	}
	c.unlock(c.here)
}

func (c *contract) unlocks() {
	ctx, cancel := context.WithCancel(c.Context())
	if err := c.here.Lock(ctx, c.prefix); err != nil {
		c.Fatal(err)
	}
	cancel()
	if err := c.here.Unlock(context.WithoutCancel(ctx), c.prefix); err != nil {
		c.Errorf("with a context that cannot end: %v", err)
	}
	if err := c.here.Lock(c.Context(), c.prefix); err != nil {
		c.Fatal(err)
	}
	if err := c.here.Unlock(ctx, c.prefix); err != nil {
		c.Errorf("with one that has ended: %v", err)
	}
	c.lock(c.there)
	if err := c.here.Unlock(c.Context(), c.prefix); err == nil && c.here != c.there {
		c.Error("no error for the lock of another node")
	} else if c.here != c.there {
		if err := c.there.RenewLockLease(c.Context(), c.prefix, 0); err != nil {
			c.Errorf("another node has released the lock: %v", err)
		}
		c.unlock(c.there)
	}
	if err := c.here.Unlock(c.Context(), c.prefix); err == nil {
		c.Error("no error for a lock that nobody holds")
	}
}

func (c *contract) tries() {
	try := func(n *node, want bool) {
		c.Helper()
		if got, err := n.TryLock(c.Context(), c.prefix); err != nil || got != want {
			c.Errorf("TryLock at %s: %t, %v; want %t", n.o.Node, got, err, want)
		}
	}
	try(c.here, true)
	try(c.here, false)
	try(c.there, false)
	c.unlock(c.here)
	try(c.there, true)
	c.unlock(c.there)
	ended, end := context.WithCancel(c.Context())
	end()
	if got, err := c.here.TryLock(ended, c.prefix); got || !errors.Is(err, context.Canceled) {
		c.Errorf("TryLock with a context that has ended: %t, %v", got, err)
	}
}

func (c *contract) renews() {
	if err := c.here.RenewLockLease(c.Context(), c.prefix, time.Minute); err == nil {
		c.Error("no error for a lock that is not held")
	}
	c.lock(c.here)
	if err := c.here.RenewLockLease(c.Context(), c.prefix, time.Minute); err != nil {
		c.Error(err)
	}
	c.unlock(c.here)
	if err := c.here.RenewLockLease(c.Context(), c.prefix, time.Minute); err == nil {
		c.Error("no error for a lock that was released")
	}
}
