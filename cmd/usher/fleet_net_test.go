package main_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher.example/cmd/internal/dovecot"
)

// Tests of partitions run in a network of their own, which goes with them: the
// test's process starts itself again in a new network namespace, where servers and
// clients are; each node is in a further one, with a link to the other nodes, that
// can be cut, and a link to servers and clients, that stays.
//
//	node 1 ──vfleet1──┐          ┌──vmail1── node 1
//	node 2 ──vfleet2──┤  fleet0  │  mail0
//	node 3 ──vfleet3──┘          └── … and Dovecots, clients

// inNet is set for a process that runs in a network of its own.
const inNet = "USHER_TEST_NET"

// A netHome is a namespace with a node.
type netHome struct {
	pid         int // of a process that keeps it
	i           int
	mail, fleet string
}

// within is how a program runs there.
func (h netHome) within() []string {
	return []string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", h.pid), "--"}
}

// inNetwork runs the test in a network of its own, and reports whether this is the
// process that is in it.
func inNetwork(t *testing.T, env ...string) bool {
	t.Helper()
	if os.Getenv(inNet) != "" {
		return true
	}
	require(t, "ip", "unshare", "nsenter")
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, needs root, for network namespaces")
	}
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	limit := 2 * time.Minute
	if at, ok := t.Deadline(); ok {
		limit = time.Until(at) * 9 / 10
	}
	args := []string{
		"--net", "--", os.Args[0], "-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=" + limit.String(),
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit+patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.Env = append(os.Environ(), inNet+"=1", builtAt+"="+binary, updateEnv+"="+strconv.FormatBool(*updateDocs))
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("in a network of its own: %v", err)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("SKIPPED there: %s", out)
	}
	t.Logf("in a network of its own:\n%s", out)
	return false
}

// networks makes the two networks with three homes for nodes.
func networks(t testing.TB) []netHome {
	t.Helper()
	return networksOf(t, len(voterNames))
}

// networksOf makes them with a home for each of n nodes.
func networksOf(t testing.TB, n int) []netHome {
	t.Helper()
	ip(t, "link", "set", "lo", "up")
	for bridge, address := range map[string]string{"fleet0": "10.78.0.1/24", "mail0": "10.77.0.1/24"} {
		ip(t, "link", "add", "name", bridge, "type", "bridge")
		ip(t, "address", "add", address, "dev", bridge)
		ip(t, "link", "set", bridge, "up")
	}
	var homes []netHome
	for i := range n {
		keeper := exec.Command("unshare", "--net", "--", "sleep", "infinity")
		keeper.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := keeper.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = keeper.Process.Kill() // what was wrong was said
			_ = keeper.Wait()
		})
		h := netHome{keeper.Process.Pid, i + 1, fmt.Sprintf("10.77.0.%d", 11+i), fmt.Sprintf("10.78.0.%d", 11+i)}
		own, err := os.Readlink("/proc/self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the namespace is there", func() bool {
			theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", h.pid))
			return err == nil && theirs != own
		})
		h.run(t, "ip", "link", "set", "lo", "up")
		for _, link := range []struct{ name, address string }{{"fleet", h.fleet}, {"mail", h.mail}} {
			ip(t, "link", "add", "name", h.link(link.name), "type", "veth", "peer", "name", link.name, "netns", strconv.Itoa(h.pid))
			ip(t, "link", "set", h.link(link.name), "master", link.name+"0", "up")
			h.run(t, "ip", "address", "add", link.address+"/24", "dev", link.name)
			h.run(t, "ip", "link", "set", link.name, "up")
		}
		homes = append(homes, h)
	}
	return homes
}

func (h netHome) link(network string) string { return fmt.Sprintf("v%s%d", network, h.i) }

// cut takes the node's link to the others away; heal gives it back. Nothing is
// reset: packets go nowhere.
func (h netHome) cut(t testing.TB)  { ip(t, "link", "set", h.link("fleet"), "nomaster") }
func (h netHome) heal(t testing.TB) { ip(t, "link", "set", h.link("fleet"), "master", "fleet0") }

// run runs a program in the namespace.
func (h netHome) run(t testing.TB, args ...string) {
	t.Helper()
	runs(t, append(h.within(), args...)...)
}

func ip(t testing.TB, args ...string) {
	t.Helper()
	runs(t, append([]string{"ip"}, args...)...)
}

func runs(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// inMail puts a Dovecot on the network of mail.
func inMail(t testing.TB) func(i int) dovecot.Options {
	return func(i int) dovecot.Options {
		address := netip.AddrFrom4([4]byte{10, 77, 0, byte(101 + i)})
		ip(t, "address", "add", address.String()+"/24", "dev", "mail0")
		return dovecot.Options{Address: address, ProxyNetworks: "10.77.0.0/24"}
	}
}
