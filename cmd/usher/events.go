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
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"usher.example/balancer/admin"
)

func eventsCommand() *cobra.Command {
	var since, code, level string
	var limit int
	var follow, asJSON bool
	c := &cobra.Command{
		Use:   "events",
		Short: "show what has happened, on all nodes",
		Long: `events lists what has happened on all nodes of the fleet, the oldest first: back ends
that went down, users who were moved, certificates, leaders, reloads. Each line has
the time, the node, the level, a code and the details; docs/events.md says what each
code means and what to do. Nodes keep their last 2048 events, and forget them when
they are restarted; all of them are in the log, too.

With --follow new events are shown as they come, until Ctrl-C. It begins now, or with
those that --since asks for. If usher is restarted meanwhile it is asked again, and
what was missed is shown. Nodes that do not answer are named on standard error.

--json prints one event a line, for scripts.

The exit status is 0, also after Ctrl-C, 75 if nobody answered and a later try may
help, 1 for other faults and 2 for a command line that was not understood.`,
		Example: "  usher events --since 1h\n  usher events --follow --code backend_down,backend_up\n  usher events --follow --json | jq -c 'select(.level != \"info\")'",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := adminOf(cmd)
			if err != nil {
				return err
			}
			q := url.Values{}
			for name, value := range map[string]string{"since": since, "code": code, "level": level} {
				if value != "" {
					q.Set(name, value)
				}
			}
			p := eventPrinter{out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), json: asJSON}
			if follow {
				ctx, end := untilSignal(cmd.Context(), os.Interrupt, syscall.SIGTERM)
				defer end()
				return client.followEvents(ctx, q, &p)
			}
			q.Set("limit", strconv.Itoa(limit))
			var list admin.EventList
			if err := client.get(cmd.Context(), admin.EventsPath, q, &list); err != nil {
				return err
			}
			warnMissing(cmd, list.Missing)
			for _, e := range list.Events {
				if err := p.event(e); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on, and show events as they come")
	c.Flags().StringVar(&since, "since", "", "only those since then: 1h30m ago, or 2026-01-31T12:00:00Z")
	c.Flags().StringVar(&code, "code", "", "only those of these codes, with commas between them")
	c.Flags().StringVar(&level, "level", "", "only those of this level or a higher one: info, warn, error")
	c.Flags().IntVar(&limit, "limit", 200, "how many at most, the last ones; without --follow")
	jsonFlag(c, &asJSON)
	return c
}

// An eventPrinter shows events.
type eventPrinter struct {
	out, err io.Writer
	json     bool
}

// event shows one on a line.
func (p *eventPrinter) event(e admin.Event) error {
	if p.json {
		b, err := json.Marshal(e)
		if err == nil {
			_, err = fmt.Fprintln(p.out, printable(string(b)))
		}
		return err
	}
	var attrs strings.Builder
	for _, name := range slices.Sorted(maps.Keys(e.Attrs)) {
		fmt.Fprintf(&attrs, " %s=%s", safe(name), attrText(e.Attrs[name]))
	}
	_, err := fmt.Fprintf(p.out, "%s  %-10s  %-5s  %-20s  %s;%s\n", moment(e.Time), cell(e.Node), cell(e.Level), cell(e.Code), safe(e.Message), attrs.String())
	return err
}

func attrText(v any) string {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		if strings.ContainsAny(v, " =;") {
			return strconv.Quote(v)
		}
		return safe(v)
	}
	return safe(fmt.Sprint(v))
}

// say tells something about the events themselves.
func (p *eventPrinter) say(format string, args ...any) {
	fmt.Fprintf(p.err, "usher: "+format+"\n", args...)
}

const (
	// silence is after how long without a word a stream is taken for lost: three
	// heartbeats of the other side.
	silence = 45 * time.Second
	// againAfter is the pause before usher is asked again, and againMost what it grows
	// to.
	againAfter = 250 * time.Millisecond
	againMost  = 5 * time.Second
)

// followEvents shows events until ctx ends. Only if nobody answers at first it is an
// error; later it is tried again.
func (c *adminClient) followEvents(ctx context.Context, q url.Values, p *eventPrinter) error {
	c.http.Timeout = 0
	last, lost := "", false
	pause := againAfter
	for {
		began := false
		err := c.stream(ctx, q, last, func(m message) error {
			if !began {
				if began, pause = true, againAfter; lost {
					p.say("usher answers again")
					lost = false
				}
			}
			if m.id != "" {
				last = m.id
			}
			return p.message(m)
		})
		var refusal *exitError
		switch {
		case ctx.Err() != nil:
			return nil // as was asked for
		case errors.Is(err, syscall.EPIPE), errors.As(err, &refusal) && refusal.code != exitTemporary:
			return err
		case !began && last == "" && !lost:
			return err
		case !lost:
			lost = true
			p.say("the connection to usher is lost; it is tried again until Ctrl-C")
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, againMost)
		case <-ctx.Done():
			return nil
		}
	}
}

// message shows what a stream said.
func (p *eventPrinter) message(m message) error {
	switch m.kind {
	case "":
		var e admin.Event
		if m.data == "" || json.Unmarshal([]byte(m.data), &e) != nil {
			return nil
		}
		return p.event(e)
	case admin.EventMissing:
		var nodes []string
		if json.Unmarshal([]byte(m.data), &nodes) == nil {
			if len(nodes) == 0 {
				p.say("all nodes answer")
			}
			for _, n := range nodes {
				p.say("not in what follows: %s", safe(n))
			}
		}
	case admin.EventLost:
		p.say("%s are not shown: there were more than are kept; the log has them", plural(atoi(m.data), "event"))
	}
	return nil
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s) // 0 is as good as nonsense
	return n
}

// stream follows events over one connection and calls got for each message, the first
// time, with an empty one, when usher has answered.
func (c *adminClient) stream(ctx context.Context, q url.Values, last string, got func(message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := c.request(ctx, http.MethodGet, admin.EventsPath+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	answer, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return refused(answer.StatusCode, json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)))
	}
	if err := got(message{}); err != nil {
		return err
	}
	err = readMessages(answer.Body, func(m message) error {
		quiet.Reset(silence)
		return got(m)
	})
	return &exitError{exitTemporary, fmt.Errorf("the stream of events on %s has ended: %w", c.socket, err)}
}
