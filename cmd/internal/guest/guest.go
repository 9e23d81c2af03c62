// Package guest runs compiled Go tests inside a kernel that this machine may
// not have: one with kernel TLS. Such a kernel is fetched from Debian and
// started as a guest, [UML] in user mode or [QEMU] on an emulated processor, so
// that neither root nor a hypervisor is asked for.
//
// It is a test harness and nothing else: it installs nothing, needs no disk
// image and gives a guest no network beyond its own loopback. Laws: a guest
// dies with the run that started it, and with the test's process; nothing
// waits without a limit; nothing runs that apt has not verified by Debian's
// signature; what is kept for the next time is verified again before use.
//
// A machine that cannot start a guest skips such tests aloud, except where
// skipping would hide a hole: with CI=true or USHER_REQUIRE_REAL=1 they fail.
package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const (
	// bootLimit is how long a guest may take until the program starts: some
	// ten times what it takes on a processor that has other things to do.
	bootLimit = 60 * time.Second

	// runLimit is how long the program itself may take, on processors that
	// are up to thirty times slower than this one.
	runLimit = 5 * time.Minute

	// memory is the guest's, in MiB. It is taken as it is used.
	memory = 512
)

// A Guest is a kernel that is ready to be started. Its methods are for the
// goroutine of the test that it was made for.
type Guest struct {
	t       testing.TB
	kernel  kernel
	machine machine
	files   tree
}

// A machine knows how to start a kernel.
type machine interface {
	// available reports what keeps this computer from being that machine.
	available() error

	// command returns what starts the kernel with files as its root; dir is
	// for what else it needs. The command is given the writing end of the
	// report as descriptor 3 and must make it the guest's ttyS1; it prints
	// what the kernel says.
	command(dir string, k kernel, files tree) (*exec.Cmd, error)
}

// A Result is what became of a program that ran in a guest.
type Result struct {
	// Output is what the program wrote to its standard output and error. It
	// comes over a serial line: from QEMU, a megabyte takes some seconds.
	Output string

	// ExitCode is the program's exit status, or 128 and the signal's number if
	// a signal ended it, as shells say it.
	ExitCode int

	// TLSStat is the kernel's own account of kernel TLS after the run
	// (/proc/net/tls_stat), such as TLSStat["TlsTxSw"]. The kernel is new with
	// every run: the counters started at zero.
	TLSStat map[string]int64

	// Kernel is the guest's kernel release, such as "6.1.176".
	Kernel string

	// Boot and Ran are how long the guest took to be ready for the program,
	// and the program to end.
	Boot, Ran time.Duration
}

// UML returns a guest of one processor with user-mode-linux 6.1, where kernel
// TLS cannot change keys. It skips or fails the test if that cannot be had.
func UML(t testing.TB) *Guest {
	t.Helper()
	return newGuest(t, umlKernel, uml{})
}

// QEMU returns a guest of two emulated processors with a Debian kernel of at
// least 6.14, where kernel TLS can change keys. It skips or fails the test if
// that cannot be had.
func QEMU(t testing.TB) *Guest {
	t.Helper()
	return newGuest(t, cloudKernel, qemu{})
}

func newGuest(t testing.TB, want recipe, m machine) *Guest {
	t.Helper()
	if err := m.available(); err != nil {
		unavailable(t, err)
	}
	k, err := fetch(t.Context(), want)
	if err != nil {
		unavailable(t, fmt.Errorf("fetch %s: %w", want.name, err))
	}
	g := &Guest{t: t, kernel: k, machine: m, files: tree{
		"proc": {mode: os.ModeDir | 0o755},
		"sys":  {mode: os.ModeDir | 0o755},
		"dev":  {mode: os.ModeDir | 0o755},
		"tmp":  {mode: os.ModeDir | 0o755},
		// Go's resolver looks here first, and there is no other to ask.
		"etc/hosts": {data: []byte("127.0.0.1 localhost\n::1 localhost\n"), mode: 0o644},
	}}
	for _, module := range k.Modules {
		g.files[modulePath(module)] = file{from: k.file(module), mode: 0o644}
	}
	g.files["init"] = file{from: buildInit(t), mode: 0o755}
	return g
}

// Run starts the guest, runs a program of this machine in it and returns when
// the guest is gone. The program must be statically linked (see [BuildTest]) or
// find its libraries among what [Guest.AddProgram] added. It runs as root in an
// empty folder /tmp, with env beside PATH, HOME and TMPDIR; env holds strings
// like "NAME=value".
//
// A program that ends with a status other than zero is a result, not an error.
// With an error the result holds what is known, such as the output so far. A
// guest that does not boot skips or fails the test; the run ends early with
// ctx, and after five minutes: a -test.timeout below that shows where a test
// hung.
func (g *Guest) Run(ctx context.Context, binary string, args, env []string) (Result, error) {
	g.t.Helper()
	r, err := g.run(ctx, binary, args, env)
	if errors.Is(err, errNoBoot) && ctx.Err() == nil {
		unavailable(g.t, err)
	}
	return r, err
}

func (g *Guest) run(ctx context.Context, binary string, args, env []string) (r Result, err error) {
	dir, err := os.MkdirTemp("", "usher-guest-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	job, err := json.Marshal(job{Modules: g.kernel.Modules, Args: args, Env: env})
	if err != nil {
		return r, err
	}
	files := tree{}
	files.add(g.files)
	files[programPath] = file{from: binary, mode: 0o755}
	files[jobPath] = file{data: job, mode: 0o644}

	cmd, err := g.machine.command(dir, g.kernel, files)
	if err != nil {
		return r, err
	}
	p, err := start(cmd, filepath.Join(dir, "console"))
	if err != nil {
		return r, fmt.Errorf("%w: %w", errNoBoot, err)
	}
	defer func() { err = errors.Join(err, p.end()) }()
	r, err = p.follow(ctx)
	if err != nil {
		return r, fmt.Errorf("run %s in %s: %w\nend of the guest's console:\n%s",
			filepath.Base(binary), g.kernel, err, p.consoleTail())
	}
	return r, nil
}
