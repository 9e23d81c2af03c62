package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"usher.example/bench/gauge"
	"usher.example/bench/peers"
	"usher.example/bench/result"
	"usher.example/bench/scenario"
)

// spareFiles of a process are not sessions: listeners, logs, pipes, epoll.
const spareFiles = 1000

// runOptions are the flags of `bench run`.
type runOptions struct {
	targets, scenarios    []string
	repetitions, sessions int
	quick, series         bool
	out, usher            string
	duration              time.Duration
	seed                  uint64
}

// newRunCommand is `bench run`.
func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "measure usher and its peers, and print the report",
		Long: "Measure usher and its peers, one after the other with the same load, and print the report.\n" +
			"A full run takes an hour on two cores that do nothing else, with --repetitions 5 three;\n" +
			"--quick shows in three minutes that everything works.",
		Example: "  go run ./bench run --quick\n" +
			"  go run ./bench run --targets usher,haproxy --scenarios 'login-*,idle-2000*' --out logins.json\n" +
			"  go run ./bench run --scenarios soak --duration 30m --series",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd, o) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.targets, "targets", nil, "targets to measure (default: all that are installed)")
	f.StringSliceVar(&o.scenarios, "scenarios", nil, "scenarios or courses to run, as globs (default: all but soak)")
	f.IntVar(&o.repetitions, "repetitions", 0, "repetitions of every scenario (default 5, and fewer of those that take long)")
	f.BoolVar(&o.quick, "quick", false, "everything once and small: to see that it works, not to compare")
	f.IntVar(&o.sessions, "sessions", 0, "sessions of idle and storm, in place of the usual sizes")
	f.DurationVar(&o.duration, "duration", 0, "how long soak takes (default 30m)")
	f.Uint64Var(&o.seed, "seed", 0, "of what is drawn: think times, users (default 1)")
	f.StringVar(&o.out, "out", "bench-run.json", "file for the result, written after every repetition")
	f.StringVar(&o.usher, "usher", "", "binary of usher (default: built from this repository)")
	f.BoolVar(&o.series, "series", false, "keep in the file how a storm went in time, for plots; a soak's is always kept")
	return cmd
}

// params are the sizes that the flags ask for.
func (o runOptions) params(files int) scenario.Params {
	p := scenario.Default()
	if o.quick {
		p = scenario.Quick()
	}
	if o.repetitions > 0 {
		p.Repetitions, p.Every = o.repetitions, true
	}
	if o.sessions > 0 {
		p.Idle, p.Storm = []scenario.Held{{Sessions: o.sessions, Share: p.Idle[0].Share}}, o.sessions
	}
	if o.duration > 0 {
		p.Soak = o.duration
	}
	if o.seed > 0 {
		p.Seed = o.seed
	}
	// A session is two files of a target.
	most := max(1, (files-spareFiles)/2)
	var held []scenario.Held
	for _, h := range p.Idle {
		h.Sessions = min(h.Sessions, most)
		if !slices.ContainsFunc(held, func(other scenario.Held) bool { return other.Sessions == h.Sessions }) {
			held = append(held, h)
		}
	}
	p.Idle, p.Storm = held, min(p.Storm, most)
	return p
}

func run(cmd *cobra.Command, o runOptions) (err error) {
	ctx := cmd.Context()
	files, err := peers.RaiseFiles()
	if err != nil {
		return err
	}
	params := o.params(files)
	courses, err := scenario.Select(scenario.Catalogue(params), o.scenarios)
	if err != nil {
		return err
	}
	targets, err := selectPeers(peers.All(), o.targets)
	if err != nil {
		return err
	}
	free, err := writable(o.out) // before an hour is spent
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	defer free()
	dir, err := os.MkdirTemp("", "usher-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // some targets give up root before they look into it
		return err
	}
	site, roots, err := newSite(ctx, cmd, dir, o.usher)
	if err != nil {
		return err
	}
	commit := usherCommit(site.Usher)
	if commit == "" && o.usher == "" {
		commit = headCommit(ctx)
	}
	measured(targets, site.Usher, commit)
	stub, err := startStub(&site)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stub.Stop()) }()

	r := &result.Run{Schema: result.Schema, Started: time.Now().UTC(), Machine: machine(), Settings: o.settings(params, commit)}
	err = scenario.Run(ctx, scenario.Plan{
		Params: params, Peers: targets, Courses: courses, Site: site, Stub: stub,
		Roots: roots, ServerName: peers.ServerName,
		Progress: scenario.NewProgress(cmd.ErrOrStderr()),
		Save:     func(r *result.Run) error { return save(r, o.out, o.series) },
	}, r)
	if err != nil {
		return err
	}
	if err := result.Markdown(cmd.OutOrStdout(), r); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; what was measured is in %s", o.out)
	}
	return nil
}

// selectPeers keeps those that are named; of no names all.
func selectPeers(all []peers.Peer, names []string) ([]peers.Peer, error) {
	if len(names) == 0 {
		return all, nil
	}
	var known []string
	for _, p := range all {
		known = append(known, p.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("no target is called %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(p peers.Peer) bool { return !slices.Contains(names, p.Name) }), nil
}

// measured gives usher and its variants the version of the binary that is measured,
// which need not be of the sources around.
func measured(targets []peers.Peer, binary, commit string) {
	for i := range targets {
		if strings.HasPrefix(targets[i].Name, "usher") {
			targets[i].Version = func() (string, error) { return usherVersion(binary, commit) }
		}
	}
}

// newSite makes what all targets have in common, but for the back end.
func newSite(ctx context.Context, cmd *cobra.Command, dir, usher string) (peers.Site, *x509.CertPool, error) {
	cert, key, roots, err := peers.NewCertificate(dir)
	if err != nil {
		return peers.Site{}, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return peers.Site{}, nil, err
	}
	if usher == "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "building usher")
		usher = filepath.Join(dir, "usher")
		if err := buildUsher(ctx, usher); err != nil {
			return peers.Site{}, nil, err
		}
	} else if usher, err = filepath.Abs(usher); err != nil {
		return peers.Site{}, nil, err
	}
	return peers.Site{Dir: dir, CertFile: cert, KeyFile: key, Usher: usher, Self: self}, roots, nil
}

// settings are what a reader has to know of how the run was made.
func (o runOptions) settings(p scenario.Params, commit string) map[string]string {
	s := map[string]string{
		"repetitions": strconv.Itoa(p.Repetitions),
		"quick":       strconv.FormatBool(o.quick),
		"seed":        strconv.FormatUint(p.Seed, 10),
		"workers":     strconv.Itoa(p.Workers),
		"login_rate":  strconv.FormatFloat(p.Rate, 'g', -1, 64),
		"storm":       strconv.Itoa(p.Storm),
		"users":       strconv.Itoa(p.Users),
		"hour":        p.Hour.String(),
		"accounting":  gauge.Host().Accounting,
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		s["load_average"] = strings.Join(strings.Fields(string(load))[:3], " ")
	}
	if commit != "" {
		s["usher_commit"] = commit
	}
	return s
}

// save writes the result in one step: who reads it meanwhile sees a whole one.
func save(r *result.Run, name string, series bool) error {
	kept := *r
	if !series {
		kept.Series = slices.DeleteFunc(slices.Clone(r.Series), func(s result.Series) bool { return s.Scenario != "soak" })
	}
	if err := kept.WriteFile(name + ".new"); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// writable says early that a file cannot be written, and takes away what it made
// to see.
func writable(name string) (free func(), err error) {
	f, err := os.Create(name + ".new")
	if err != nil {
		return nil, err
	}
	return func() { _ = os.Remove(f.Name()) }, f.Close()
}

// machine is where the run takes place.
func machine() result.Machine {
	h := gauge.Host()
	return result.Machine{
		CPU: h.CPU, Cores: h.Cores, Memory: h.Memory, Kernel: h.Kernel,
		Distribution: h.Distribution, Arch: h.Architecture, Go: goVersion(),
	}
}
