package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
	"usher.example/health"
)

// Exit statuses of a plugin (Monitoring Plugins Development Guidelines, "Plugin
// Return Codes").
const (
	pluginOK = iota
	pluginWarning
	pluginCritical
	pluginUnknown
)

var pluginStates = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

const (
	// checkTime is the patience of a check, less than the second in which
	// keepalived asks again.
	checkTime = 900 * time.Millisecond
	// maxCheckup bounds what is read: a name for each of ten thousand back ends.
	maxCheckup = 1 << 20
	// maxNamed bounds how many things a line names; who wants all asks usher status.
	maxNamed = 5
)

// defaultWarn and defaultCrit are the thresholds unless others are given; 0 is none.
var (
	defaultWarn = map[string]int{"backends": 1, "certificate": 7, "sessions": 0}
	defaultCrit = map[string]int{"backends": 0, "certificate": 2, "sessions": 0}
)

// A checkup is what check-health is asked to do.
type checkup struct {
	url        string
	timeout    time.Duration
	ready      bool
	warn, crit map[string]int
}

func checkHealthCommand() *cobra.Command {
	var k checkup
	c := &cobra.Command{
		Use:   "check-health",
		Short: "judge the running usher in a line, for Nagios, Icinga and keepalived",
		Long: `check-health asks the running usher, over its admin socket or at --url, the address of
admin.http, and prints a line as plugins for Nagios and Icinga do: the verdict, what led to
it, and behind | numbers. The exit status is

  0  OK        it takes users and all is well
  1  WARNING   it takes users and something is wrong, or an administrator drains or stops it
  2  CRITICAL  it takes no users, or does not answer
  3  UNKNOWN   the command line was not understood, or the answer was not

-w and -c set from which number on something is a warning or critical; 0 is never:

  backends     back ends that serve nobody, of all pools (1 and 0)
  certificate  days that the certificate that ends first is good for (7 and 2)
  sessions     sessions of this node, logged in or not (0 and 0)

With --ready only one thing counts, and the exit status is 0 if users may be sent here and 2
if not: a node that drains is not, one that is degraded is. That is for keepalived and
scripts that announce routes.`,
		Example: "  usher check-health\n  usher check-health --ready\n" +
			"  usher check-health --url http://127.0.0.1:9180 -w backends=1,certificate=14 -c backends=2,certificate=3",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, line := k.run(cmd)
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
				return err
			}
			if status == pluginOK {
				return nil
			}
			return &exitError{status, errors.New("")} // the line has said it
		},
	}
	unknown := func(c *cobra.Command, err error) error {
		fmt.Fprintf(c.OutOrStdout(), "USHER UNKNOWN - %s\n", oneLine(err.Error()))
		return &exitError{pluginUnknown, fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
	}
	c.SetFlagErrorFunc(unknown)
	c.Args = func(c *cobra.Command, args []string) error {
		if err := cobra.NoArgs(c, args); err != nil {
			return unknown(c, err)
		}
		return nil
	}
	c.Flags().StringVar(&k.url, "url", "", "ask there, not at the admin socket, such as http://127.0.0.1:9180")
	c.Flags().DurationVar(&k.timeout, "timeout", checkTime, "how long the answer may take")
	c.Flags().BoolVar(&k.ready, "ready", false, "say only whether users may be sent here")
	c.Flags().StringToIntVarP(&k.warn, "warning", "w", nil, "thresholds of warnings, such as backends=1,certificate=14")
	c.Flags().StringToIntVarP(&k.crit, "critical", "c", nil, "thresholds of what is critical")
	return c
}

// run asks and judges.
func (k *checkup) run(cmd *cobra.Command) (status int, line string) {
	say := func(status int, text string) (int, string) {
		return status, "USHER " + pluginStates[status] + " - " + oneLine(text)
	}
	for name, limits := range map[string]map[string]int{"-w": k.warn, "-c": k.crit} {
		for key, n := range limits {
			if _, known := defaultWarn[key]; !known || n < 0 {
				return say(pluginUnknown, fmt.Sprintf("%s %s=%d: want a number from 0 on for one of %s",
					name, key, n, strings.Join(slices.Sorted(maps.Keys(defaultWarn)), ", ")))
			}
		}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), k.timeout)
	defer cancel()
	c, err := k.ask(ctx, cmd)
	if exit := (*exitError)(nil); errors.As(err, &exit) && exit.code == exitUsage {
		return say(pluginUnknown, err.Error())
	}
	if err != nil {
		return say(pluginCritical, err.Error())
	}
	if k.ready {
		if c.State.Takes() {
			return say(pluginOK, string(c.State))
		}
		return say(pluginCritical, told(c))
	}
	status, text := k.judge(c, time.Now())
	status, line = say(status, text)
	return status, line + " | " + k.numbers(c, time.Now())
}

// ask gets the numbers.
func (k *checkup) ask(ctx context.Context, cmd *cobra.Command) (*admin.Checkup, error) {
	var c admin.Checkup
	if k.url == "" {
		client, err := adminOf(cmd)
		if err != nil {
			return nil, err
		}
		if err := client.get(ctx, admin.CheckupPath, nil, &c); err != nil {
			return nil, err
		}
		return &c, nil
	}
	base, err := url.Parse(k.url)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, usageError("--url %q: want the address of admin.http, such as http://127.0.0.1:9180", k.url)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath(admin.CheckupPath).String(), http.NoBody)
	if err != nil {
		return nil, usageError("--url: %w", err)
	}
	got, err := http.DefaultClient.Do(r)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		return nil, fmt.Errorf("ask usher at %s: %w", base.Host, failed.Err)
	}
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		return nil, usageError("%s answers %d: is that usher's admin.http?", base.Host, got.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(got.Body, maxCheckup)).Decode(&c); err != nil || c.State == "" {
		return nil, usageError("what %s answers is not usher's: is that its admin.http?", base.Host)
	}
	return &c, nil
}

// told is a state with its reasons.
func told(c *admin.Checkup) string {
	if len(c.Reasons) == 0 {
		return string(c.State)
	}
	return string(c.State) + ": " + few(health.Texts(c.Reasons))
}

// few names the first of many.
func few(list []string) string {
	if n := len(list) - maxNamed; n > 0 {
		list = append(slices.Clone(list[:maxNamed]), fmt.Sprintf("%d more", n))
	}
	return strings.Join(list, "; ")
}

// judge comes to a verdict; the worst counts.
func (k *checkup) judge(c *admin.Checkup, now time.Time) (status int, text string) {
	parts := []string{told(c)}
	note := func(level int, format string, args ...any) {
		status = max(status, level)
		parts = append(parts, fmt.Sprintf(format, args...))
	}
	switch {
	case c.State == health.StateReady:
	case c.State.Takes(), c.State == health.StateDraining:
		status = pluginWarning
	default:
		status = pluginCritical
	}
	if level := k.level("backends", len(c.Down), false); level > pluginOK {
		note(level, "%d of %s down: %s", len(c.Down), plural(c.Backends, "back end"), few(c.Down))
	}
	if level := k.level("sessions", c.Sessions, false); level > pluginOK {
		note(level, "%s", plural(c.Sessions, "session"))
	}
	if e := c.Certificate; e != nil {
		if level := k.level("certificate", days(e.NotAfter, now), true); level > pluginOK {
			note(level, "certificate %s ends on %s", e.Name, e.NotAfter.Format(time.DateOnly))
		}
	}
	if c.Problems > 0 {
		note(pluginWarning, "%s to see to, see usher cert list", plural(c.Problems, "certificate"))
	}
	if f := c.Fleet; f != nil && !f.Quorum {
		note(pluginWarning, "the fleet has no quorum")
	} else if f != nil && len(f.Missing) > 0 {
		note(pluginWarning, "missing voters: %s", few(f.Missing))
	}
	if !c.Config {
		note(pluginWarning, "the last reload failed, see usher status")
	}
	if status == pluginOK {
		parts = append(parts, plural(c.Sessions, "session"), plural(c.Backends, "back end")+" up")
	}
	return status, strings.Join(parts, ", ")
}

// days are whole ones, rounded down.
func days(end, now time.Time) int {
	left := end.Sub(now)
	if left < 0 {
		return -1
	}
	return int(left / (24 * time.Hour))
}

// limits are those of a threshold.
func (k *checkup) limits(key string) (warn, crit int) {
	pick := func(given, otherwise map[string]int) int {
		if n, ok := given[key]; ok {
			return n
		}
		return otherwise[key]
	}
	return pick(k.warn, defaultWarn), pick(k.crit, defaultCrit)
}

// level compares a number with its thresholds; low says that less is worse.
func (k *checkup) level(key string, n int, low bool) int {
	beyond := func(limit int) bool { return limit > 0 && (low && n < limit || !low && n >= limit) }
	warn, crit := k.limits(key)
	switch {
	case beyond(crit):
		return pluginCritical
	case beyond(warn):
		return pluginWarning
	}
	return pluginOK
}

// numbers are the performance data: 'label'=value;warn;crit;min;max, where a
// threshold is the range outside of which it alerts.
func (k *checkup) numbers(c *admin.Checkup, now time.Time) string {
	datum := func(label, key string, n, most int, low bool) string {
		var s strings.Builder
		fmt.Fprintf(&s, "%s=%d", label, n)
		warn, crit := k.limits(key)
		for _, limit := range []int{warn, crit} {
			switch {
			case limit == 0:
				s.WriteString(";")
			case low:
				fmt.Fprintf(&s, ";%d:", limit)
			default:
				fmt.Fprintf(&s, ";%d", limit-1) // alerts above
			}
		}
		s.WriteString(";0;")
		if most > 0 {
			fmt.Fprint(&s, most)
		}
		return s.String()
	}
	list := []string{
		datum("sessions", "sessions", c.Sessions, c.MaxSessions, false),
		datum("prelogin", "", c.Prelogin, 0, false),
		datum("backends_down", "backends", len(c.Down), c.Backends, false),
	}
	if c.Certificate != nil {
		list = append(list, datum("certificate_days", "certificate", max(days(c.Certificate.NotAfter, now), 0), 0, true))
	}
	if f := c.Fleet; f != nil {
		list = append(list, datum("fleet_alive", "", f.Alive, f.Nodes, false))
	}
	return strings.Join(list, " ")
}

// oneLine keeps a plugin's line one, and its numbers apart.
func oneLine(s string) string {
	return strings.ReplaceAll(lines(strings.Join(strings.Fields(s), " ")), "|", "/")
}
