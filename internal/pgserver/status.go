package pgserver

import (
	"context"
	"fmt"
	"strings"
	"time"

	"capstan/internal/pg"
	"capstan/internal/pgdata"
)

// StatusReport says where a server stands.
type StatusReport struct {
	Data     string       `json:"data"`
	SystemID string       `json:"system_id"`
	Major    int          `json:"major"`
	Phase    Phase        `json:"phase"`
	Why      string       `json:"why"`
	Since    time.Time    `json:"since,omitzero"`
	Blockers []ProcessRow `json:"blockers"` // whom the phase waits for
	Safe     string       `json:"safe,omitempty"`
	Next     string       `json:"next,omitempty"` // the command that goes on from here
	State    string       `json:"state"`          // of pg_control, in the words of pg_controldata
	Status   string       `json:"status"`         // of postmaster.pid; empty if there is none
	PID      int          `json:"pid,omitempty"`
	Redo     string       `json:"redo"` // where a recovery would begin
	Pending  []Change     `json:"pending"`
}

// ProcessRow is one process of a report.
type ProcessRow struct {
	PID   int     `json:"pid"`
	Role  pg.Role `json:"role,omitempty"`
	Title string  `json:"title"`
}

// How often a start is looked at before it is called recovery: the startup process
// has a spill file open for a fraction of its time.
const (
	startLooks = 25
	startEvery = 20 * time.Millisecond
)

// Status says in which phase a server is, who blocks it, and what is safe. It
// changes nothing and takes up to a second. name is as in NewObserver.
func Status(ctx context.Context, env Env, cluster *pg.Cluster, name string) (StatusReport, error) {
	observer, err := NewObserver(ctx, cluster, name)
	if err != nil {
		return StatusReport{}, err
	}
	look, err := observer.Look(ctx)
	for n := 0; err == nil && n < startLooks; n++ {
		if verdict := look.Judge(); verdict.Phase != PhaseRecovery && verdict.Phase != PhaseStartingPre {
			break
		}
		select {
		case <-ctx.Done():
			return StatusReport{}, context.Cause(ctx)
		case <-time.After(startEvery):
		}
		look, err = observer.Look(ctx)
	}
	if err != nil {
		return StatusReport{}, err
	}
	pending, err := Pending(ctx, env, cluster)
	if err != nil {
		return StatusReport{}, err
	}
	verdict := look.Judge()
	report := StatusReport{
		Data: cluster.Dir, SystemID: fmt.Sprint(look.Control.SystemID), Major: cluster.Major, Phase: verdict.Phase, Why: verdict.Why,
		Since: look.since(verdict.Phase), Blockers: []ProcessRow{}, Safe: verdict.Safe, Next: next(cluster, verdict.Phase),
		State: look.Control.State.String(), Status: look.Server.File.Status, PID: look.Server.Process.PID,
		Redo: look.Control.Redo.String(), Pending: append([]Change{}, pending...),
	}
	for _, child := range verdict.Blockers {
		report.Blockers = append(report.Blockers, row(child.Process, child.Role))
	}
	for _, command := range verdict.Commands {
		report.Blockers = append(report.Blockers, row(command, ""))
	}
	return report, nil
}

func row(p pg.Process, role pg.Role) ProcessRow {
	title := strings.ReplaceAll(strings.TrimRight(p.Title, "\x00 "), "\x00", " ")
	return ProcessRow{PID: p.PID, Role: role, Title: title}
}

// since is when a phase began at the latest that can be told from outside.
func (l *Look) since(phase Phase) time.Time {
	switch phase {
	case PhaseOrphans:
		if l.Control.State.Clean() {
			return l.Control.Modified
		}
		return time.Time{} // of its last checkpoint, which says nothing of its end
	case PhaseClean, PhaseArchiver, PhaseStandby, PhaseEnding:
		return l.Control.Modified
	case PhaseCheckpoint:
		if l.Control.State == pgdata.StateShuttingDown {
			return l.Control.Modified
		}
		return l.Stopping
	case PhaseBackends, PhaseWalsender, PhaseUnknown:
		return l.Stopping
	case PhaseRunning, PhaseSync, PhaseCleanup, PhaseRecovery, PhaseStartingPre, PhaseSingle:
		return l.Server.File.Started
	default:
		return time.Time{}
	}
}

// next is the command that goes on from a phase.
func next(cluster *pg.Cluster, phase Phase) string {
	stop := "capstan pg stop -D " + cluster.Dir
	switch phase {
	case PhaseRunning:
		return "capstan pg stop-check -D " + cluster.Dir
	case PhaseBackends, PhaseCheckpoint, PhaseEnding:
		return stop
	case PhaseUnknown:
		return stop + " --cluster-name NAME"
	case PhaseWalsender, PhaseStandby:
		return stop + " --walsender=terminate"
	case PhaseArchiver:
		return stop + " --archiver=finish-current"
	case PhaseOrphans:
		return stop + " --archiver=abort-command"
	case PhaseClean, PhaseKilled:
		return "capstan pg start -D " + cluster.Dir
	case PhaseSync, PhaseCleanup:
		return "capstan pg start --unstick -D " + cluster.Dir
	default:
		return ""
	}
}
