package pebble

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// patience is more than a start takes on a loaded machine.
const patience = 20 * time.Second

// A process is one program that was started.
type process struct {
	pid  int
	done chan struct{} // closed when it has ended
}

// start starts what does not run. The DNS server comes first.
func (s *Server) start() error {
	s.t.Helper()
	s.procs = append(s.procs, s.launch("challtestsrv.log", nil, "pebble-challtestsrv",
		"-dns01", s.dns, "-management", s.at(portNames), "-http01", "", "-https01", "", "-tlsalpn01", "",
		"-defaultIPv4", s.opts.Default.String(), "-defaultIPv6", ""))
	reuse := "PEBBLE_AUTHZREUSE=100"
	if s.opts.FreshChallenges {
		reuse = "PEBBLE_AUTHZREUSE=0"
	}
	s.procs = append(s.procs, s.launch("pebble.log",
		[]string{"PEBBLE_VA_NOSLEEP=1", reuse, fmt.Sprint("PEBBLE_WFE_NONCEREJECT=", s.opts.BadNonces)},
		"pebble", "-config", filepath.Join(s.dir, "pebble.json"), "-dnsserver", cmp.Or(s.opts.DNS, s.dns)))
	if err := s.await("the DNS server", func() error { return s.tell("/clear-a", map[string]any{"host": "nobody.invalid."}) }); err != nil {
		return err
	}
	if err := s.await("the CA", func() error { _, err := s.fetch("/roots/0"); return err }); err != nil {
		return err
	}
	for name, addrs := range s.opts.Hosts {
		s.Resolve(name, addrs...)
	}
	return nil
}

// Stop ends the CA. It forgets all accounts and certificates.
func (s *Server) Stop() {
	for _, p := range s.procs {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // it keeps nothing that could be lost
		<-p.done
	}
	s.procs = nil
}

// Restart starts the CA anew, as one that knows nobody, with new roots.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Freeze has the CA take connections and answer nothing, until Thaw.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen CA go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	for _, p := range s.procs {
		if err := syscall.Kill(-p.pid, sig); err != nil {
			s.t.Errorf("send %v to %d: %v", sig, p.pid, err)
		}
	}
}

// launch starts a program that leads a process group and ends with this process. The
// kernel sends the death signal when the starting *thread* ends, so one is kept.
func (s *Server) launch(log string, env []string, args ...string) *process {
	s.t.Helper()
	out, err := os.OpenFile(filepath.Join(s.dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	args = append(s.opts.Prefix[:len(s.opts.Prefix):len(s.opts.Prefix)], args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() { // ends with the program, which Stop waits for
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		out.Close() // the child has its own
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatalf("start %s: %v", args[0], err)
	}
	return p
}

// await waits until something works.
func (s *Server) await(what string, try func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		err := try()
		if err == nil {
			return nil
		}
		for _, p := range s.procs {
			select {
			case <-p.done:
				return fmt.Errorf("%s ended at once:\n%s", what, s.logs())
			default:
			}
		}
		select {
		case <-tick.C:
		case <-end:
			return fmt.Errorf("%s does not come up: %w\n%s", what, err, s.logs())
		}
	}
}

// logs is what the programs have said.
func (s *Server) logs() string {
	dns, _ := os.ReadFile(filepath.Join(s.dir, "challtestsrv.log"))
	ca, _ := os.ReadFile(s.Log)
	return string(dns) + string(ca)
}

// Resolve has the CA find a name at these addresses from now on, and nowhere else.
func (s *Server) Resolve(name string, addrs ...netip.Addr) {
	s.t.Helper()
	var v4, v6 []string
	for _, a := range addrs {
		if a.Is4() {
			v4 = append(v4, a.String())
		} else {
			v6 = append(v6, a.String())
		}
	}
	s.must("/clear-a", map[string]any{"host": name + "."})
	s.must("/clear-aaaa", map[string]any{"host": name + "."})
	if len(v4) > 0 {
		s.must("/add-a", map[string]any{"host": name + ".", "addresses": v4})
	}
	if len(v6) > 0 {
		s.must("/add-aaaa", map[string]any{"host": name + ".", "addresses": v6})
	}
}

// SetTXT has the CA see a TXT record, as for DNS-01; the name is fully qualified, as
// in "_acme-challenge.example.org.". ClearTXT takes it away.
func (s *Server) SetTXT(name, value string) error {
	return s.tell("/set-txt", map[string]any{"host": name, "value": value})
}

// ClearTXT takes the TXT records of a name away.
func (s *Server) ClearTXT(name string) error {
	return s.tell("/clear-txt", map[string]any{"host": name})
}

// DNS is the address of the DNS server, for those who want to see what the CA sees.
func (s *Server) DNS() string { return s.dns }
