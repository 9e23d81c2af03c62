package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// openFiles lets tests hold many sessions: init starts with room for 4096.
const openFiles = 1 << 18

// Init is what process 1 of a guest does: it makes an empty kernel a place to
// run a program in, runs the program, reports and turns the guest off. It never
// returns.
func Init() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "this is the first process of a guest, and of use nowhere else")
		os.Exit(2)
	}
	if err := inside(); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err) // the console: the report may be what is wrong
	}
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Fprintln(os.Stderr, "init: power off:", err)
	select {}
}

func inside() (err error) {
	if err := mountAll(); err != nil {
		return err
	}
	out, err := os.OpenFile("/"+reportPath, os.O_WRONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	// Closing a serial line waits until everything is said.
	defer func() { err = errors.Join(err, out.Close()) }()
	report := json.NewEncoder(out)
	end, err := perform(report)
	if err != nil {
		return errors.Join(err, report.Encode(event{Failure: err.Error()}))
	}
	return report.Encode(event{Outcome: &end})
}

// perform does the job.
func perform(report *json.Encoder) (outcome, error) {
	var todo job
	text, err := os.ReadFile("/" + jobPath)
	if err != nil {
		return outcome{}, err
	}
	if err := json.Unmarshal(text, &todo); err != nil {
		return outcome{}, fmt.Errorf("read the job: %w", err)
	}
	if err := prepare(todo.Modules); err != nil {
		return outcome{}, err
	}
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return outcome{}, err
	}
	if err := report.Encode(event{Kernel: unix.ByteSliceToString(uname.Release[:])}); err != nil {
		return outcome{}, err
	}

	cmd := exec.Command("/"+programPath, todo.Args...)
	cmd.Dir = "/tmp"
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "TMPDIR=/tmp"}, todo.Env...)
	cmd.Stdout = outputWriter{report}
	cmd.Stderr = cmd.Stdout // one goroutine writes both
	if err := cmd.Run(); cmd.ProcessState == nil {
		return outcome{}, fmt.Errorf("start the program: %w", err)
	}
	end := outcome{ExitCode: cmd.ProcessState.ExitCode()}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		end.ExitCode = 128 + int(status.Signal())
	}
	if end.TLSStat, err = readTLSStat("/proc/net/tls_stat"); err != nil {
		return outcome{}, err
	}
	return end, nil
}

// outputWriter reports what the program writes while it runs.
type outputWriter struct{ report *json.Encoder }

func (w outputWriter) Write(p []byte) (int, error) {
	if err := w.report.Encode(event{Output: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}

func mountAll() error {
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"devtmpfs", "/dev"},
		{"tmpfs", "/tmp"}, // a host's folder knows no unix sockets
	} {
		err := unix.Mount(m.kind, m.dir, m.kind, 0, "")
		if err != nil && !errors.Is(err, unix.EBUSY) { // the kernel has mounted /dev itself
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	return nil
}

// prepare makes the kernel ready for tests of the network.
func prepare(modules []string) error {
	for _, name := range modules {
		if err := loadModule("/" + modulePath(name)); err != nil {
			return fmt.Errorf("load the kernel's module %s: %w", name, err)
		}
	}
	if err := raiseLoopback(); err != nil {
		return fmt.Errorf("raise the loopback interface: %w", err)
	}
	limit := unix.Rlimit{Cur: openFiles, Max: openFiles}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	// ENODEV: this processor lacks what the module is for; another will do.
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// raiseLoopback also gives the interface its addresses, which the kernel does
// by itself.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return err
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// readTLSStat reads the counters of kernel TLS: lines of a name and a number.
func readTLSStat(path string) (map[string]int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	stat := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			return nil, fmt.Errorf("%s has a line %q", path, line)
		}
		if stat[fields[0]], err = strconv.ParseInt(fields[1], 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return stat, nil
}
