package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// levels by weight, the worst first.
var levels = []string{LevelCritical, LevelWarning, LevelNotice}

// maxAlarms bounds the list: in a great outage the first lines tell the story.
const maxAlarms = 40

// judge says what is not as on a quiet day, the worst first.
func (b *Board) judge() {
	b.Alarms = []BoardAlarm{}
	b.judgeFleet()
	b.judgePools()
	b.judgeNodes()
	b.judgeBackends()
	b.judgeCertificates()
	slices.SortStableFunc(b.Alarms, func(x, y BoardAlarm) int {
		return cmp.Compare(slices.Index(levels, x.Level), slices.Index(levels, y.Level))
	})
	b.Alarms = b.Alarms[:min(len(b.Alarms), maxAlarms)]
}

func (b *Board) alarm(level, about, format string, args ...any) {
	b.Alarms = append(b.Alarms, BoardAlarm{level, about, fmt.Sprintf(format, args...)})
}

func (b *Board) judgeFleet() {
	f := &b.Fleet
	if f.Error != "" {
		b.alarm(LevelCritical, "fleet", "This node's part of the fleet has failed: %s", f.Error)
	}
	switch {
	case !f.Quorum && len(f.Missing) > 0:
		b.alarm(LevelCritical, "fleet", "The fleet cannot decide: too few voters, missing %s", clip(strings.Join(f.Missing, ", ")))
	case !f.Quorum:
		b.alarm(LevelCritical, "fleet", "The fleet has no leader")
	case f.Isolated:
		b.alarm(LevelCritical, "fleet", "Node %s is isolated from the fleet", b.Node)
	}
	if len(f.Changes) > 0 {
		b.alarm(LevelNotice, "fleet", "Nodes are being brought in line: pool %s", clip(strings.Join(f.Changes, ", ")))
	}
	if f.Moves > 0 {
		b.alarm(LevelNotice, "fleet", "%s on the way to another back end", plural(f.Moves, "user"))
	}
}

func (b *Board) judgeNodes() {
	if b.Totals.Nodes > 0 && b.Totals.NodesReady == 0 {
		b.alarm(LevelCritical, "nodes", "No node takes new clients")
	}
	for i := range b.Nodes {
		n := &b.Nodes[i]
		switch why := strings.Join(n.Reasons, "; "); n.State {
		case NodeAbsent:
			b.alarm(LevelCritical, "nodes", "Node %s is gone", n.Name)
		case NodeSilent:
			b.alarm(LevelWarning, "nodes", "Node %s does not answer", n.Name)
		case NodeUnready:
			b.alarm(LevelWarning, "nodes", "Node %s takes no new clients: %s", n.Name, why)
		case NodeDegraded:
			b.alarm(LevelWarning, "nodes", "Node %s is degraded: %s", n.Name, why)
		case NodeDraining:
			b.alarm(LevelNotice, "nodes", "Node %s is draining; %s left", n.Name, plural(n.Sessions, "session"))
		}
		if n.MaxFiles > 0 && float64(n.Files) > fullFiles*float64(n.MaxFiles) {
			b.alarm(LevelWarning, "nodes", "Node %s has used %d of its %d descriptors", n.Name, n.Files, n.MaxFiles)
		}
	}
}

// fullFiles is the part of its descriptors at which a node is said to be nearly full.
const fullFiles = 0.85

// judgePools comes before the nodes: of one without a back end all users are hurt.
func (b *Board) judgePools() {
	for _, p := range b.Pools {
		if p.Usable == 0 {
			b.alarm(LevelCritical, "backends", "Pool %s: no back end is up", p.Name)
		}
	}
}

func (b *Board) judgeBackends() {
	for i := range b.Backends {
		row := &b.Backends[i]
		title := row.title(len(b.Pools))
		switch {
		case row.State == "removed":
			b.alarm(LevelNotice, "backends", "Back end %s is out of the configuration and has %s", title, plural(row.Users, "user"))
		case row.Admin == "down":
			b.alarm(LevelNotice, "backends", "Back end %s is set down", title)
		case !row.Up && row.Damped:
			b.alarm(LevelWarning, "backends", "Back end %s answers again, and is kept out since it fell too often", title)
		case !row.Up:
			why := ""
			if len(row.Errors) > 0 {
				why = ": " + row.Errors[0]
			}
			b.alarm(LevelWarning, "backends", "Back end %s is down%s", title, why)
		case row.Admin == "drain" || row.Admin == "evacuate":
			b.alarm(LevelNotice, "backends", "Back end %s is draining; %s left", title, plural(row.Users, "user"))
		}
	}
}

func (b *Board) judgeCertificates() {
	for i := range b.Certificates {
		c := &b.Certificates[i]
		name := strings.Join(c.Names[:min(1, len(c.Names))], "")
		switch {
		case !c.NotAfter.IsZero() && c.NotAfter.Before(b.Time):
			b.alarm(LevelCritical, "certificates", "The certificate of %s has ended", name)
		case c.NotAfter.IsZero():
			b.alarm(LevelWarning, "certificates", "There is no certificate of %s: %s", name, cmp.Or(c.Problem, "not yet"))
		case c.Ending:
			b.alarm(LevelWarning, "certificates", "The certificate of %s ends in %s, and nothing replaces it", name, plural(int(c.NotAfter.Sub(b.Time)/(24*time.Hour)), "day"))
		case c.Problem != "":
			b.alarm(LevelWarning, "certificates", "Certificate of %s: %s", name, c.Problem)
		}
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
