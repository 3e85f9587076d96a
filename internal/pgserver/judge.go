package pgserver

import (
	"fmt"
	"strings"

	"capstan/internal/pg"
	"capstan/internal/pgdata"
)

// Phase is where a server stands between running and stopped.
type Phase string

// The phases. Each says who is waited for.
const (
	PhaseClean   Phase = "stopped"            // no server; it was shut down with a checkpoint
	PhaseKilled  Phase = "killed"             // no server; the next start has to recover
	PhaseOrphans Phase = "orphaned processes" // no server, but what it started works on
	PhaseForeign Phase = "foreign process"    // postmaster.pid names something else
	PhaseSingle  Phase = "single user mode"   // somebody works on it with postgres --single
	PhaseRunning Phase = "running"

	PhaseBackends    Phase = "client backends"     // a smart stop, or backends that do not end
	PhaseWalsender   Phase = "walsender"           // blocks before the shutdown checkpoint: logical, or with a full socket
	PhaseCheckpoint  Phase = "shutdown checkpoint" //
	PhaseStandby     Phase = "physical standby"    // its walsender waits until the standby has the checkpoint
	PhaseArchiver    Phase = "archive backlog"     //
	PhaseEnding      Phase = "ending"              // nobody is left to wait for
	PhaseUnknown     Phase = "unknown"             // something is left that has no known role
	PhaseSync        Phase = "data directory sync" // of a start
	PhaseCleanup     Phase = "spill cleanup"       // the same
	PhaseRecovery    Phase = "recovery"            // the same
	PhaseStartingPre Phase = "before recovery"     // the same: no startup process yet, temporary files are removed
)

// Verdict is what a look means.
type Verdict struct {
	Phase    Phase
	Blockers []pg.Child   // whom the phase waits for
	Commands []pg.Process // of an archiver: what it runs
	Why      string       // in words
	Safe     string       // what may be done now, in words; empty if there is nothing to do
}

// Judge is the decision table.
func (l *Look) Judge() Verdict {
	switch {
	case l.Server.Presence == pg.Foreign:
		return Verdict{
			Phase: PhaseForeign, Why: fmt.Sprintf("postmaster.pid names process %d, but %s", l.Server.File.PID, l.Server.Why),
			Safe: "find out whether a server runs in another container or on another machine; remove postmaster.pid only if none does",
		}
	case l.Server.Presence != pg.Alive:
		return l.judgeGone()
	case l.Server.File.Single:
		return Verdict{Phase: PhaseSingle, Why: "somebody works on the cluster in single user mode", Safe: "wait for its end"}
	}
	switch l.Server.File.Status {
	case pgdata.StatusReady, pgdata.StatusStandby:
		return Verdict{Phase: PhaseRunning, Why: "the server runs"}
	case pgdata.StatusStopping:
		if startup := l.children(pg.RoleStartup); len(startup) > 0 && !l.Control.State.Clean() {
			return l.judgeStarting() // it was told to stop while it started
		}
		return l.judgeStopping()
	default:
		return l.judgeStarting()
	}
}

// judgeGone is the part of the table where no server is.
func (l *Look) judgeGone() Verdict {
	state := l.Control.State
	switch {
	case len(l.Strays) > 0:
		why := fmt.Sprintf("the server is gone, but left %s behind; the cluster is %s", processes(l.Strays), state)
		return Verdict{Phase: PhaseOrphans, Commands: l.Strays, Why: why, Safe: "wait for their end, or capstan pg stop --archiver=abort-command"}
	case state.Clean() && l.Server.Presence == pg.Dead:
		return Verdict{Phase: PhaseClean, Why: "the server was killed after its shutdown checkpoint; nothing has to be recovered"}
	case state.Clean():
		return Verdict{Phase: PhaseClean, Why: "the server was shut down"}
	}
	return Verdict{
		Phase: PhaseKilled, Why: fmt.Sprintf("no server runs, and the cluster says %q: the next start has to recover from %s", state, l.Control.Redo),
		Safe: "capstan pg start",
	}
}

// judgeStopping is the part of a stop that is under way.
func (l *Look) judgeStopping() Verdict {
	walsenders, archivers := l.children(pg.RoleWalsender), l.children(pg.RoleArchiver)
	if l.Control.State.Clean() {
		switch {
		case len(walsenders) > 0:
			return Verdict{
				Phase: PhaseStandby, Blockers: walsenders, Why: "the shutdown checkpoint is written; a standby has not confirmed it: " + titles(walsenders),
				Safe: "wait, or --walsender=terminate, after which the standby may lack the last records",
			}
		case len(archivers) > 0:
			return Verdict{
				Phase: PhaseArchiver, Blockers: archivers, Commands: l.Commands,
				Why:  "the cluster is shut down; the archiver copies all WAL that is ready" + running(l.Commands),
				Safe: "wait, or --archiver=finish-current, abort-command or pause; what is not archived stays ready for the next start",
			}
		}
		return Verdict{Phase: PhaseEnding, Why: "the cluster is shut down; the last processes end"}
	}
	if stuck := l.children(pg.RoleBackend, pg.RoleWorker); len(stuck) > 0 {
		return Verdict{
			Phase: PhaseBackends, Blockers: stuck, Why: "a smart stop waits for clients, or backends do not end: " + titles(stuck),
			Safe: "a fast stop; SIGTERM to backends that outlive it",
		}
	}
	if l.Control.State == pgdata.StateShuttingDown {
		return Verdict{Phase: PhaseCheckpoint, Blockers: l.children(pg.RoleCheckpointer), Why: "the checkpointer writes the shutdown checkpoint", Safe: "wait"}
	}
	if len(walsenders) > 0 {
		return Verdict{
			Phase: PhaseWalsender, Blockers: walsenders, Why: "a logical walsender, or one whose socket is full, has to end before the shutdown checkpoint: " + titles(walsenders),
			Safe: "stop its consumer, or --walsender=terminate or cut; never SIGKILL, SIGQUIT or an immediate stop",
		}
	}
	if unknown := l.children(pg.RoleUnknown); len(unknown) > 0 {
		return Verdict{
			Phase: PhaseUnknown, Blockers: unknown, Why: "processes of no known role are left: " + titles(unknown),
			Safe: "if the server was started with another cluster_name, give that: --cluster-name NAME",
		}
	}
	return Verdict{Phase: PhaseCheckpoint, Blockers: l.children(pg.RoleCheckpointer), Why: "the shutdown checkpoint is to come", Safe: "wait"}
}

// judgeStarting is the part of a start that is under way.
func (l *Look) judgeStarting() Verdict {
	startup := l.children(pg.RoleStartup)
	switch {
	case len(startup) == 0:
		return Verdict{Phase: PhaseStartingPre, Why: "the server starts; temporary files are removed before recovery", Safe: "wait"}
	case l.Startup.Spill:
		return Verdict{Phase: PhaseSync, Blockers: startup, Why: "the server starts; it syncs every file of the data directory, spill files at present", Safe: "capstan pg start --unstick"}
	case l.Startup.SlotDir:
		return Verdict{Phase: PhaseCleanup, Blockers: startup, Why: "the server starts; it removes spill files", Safe: "capstan pg start --unstick"}
	}
	return Verdict{Phase: PhaseRecovery, Blockers: startup, Why: "the server starts; it syncs the data directory or replays WAL", Safe: "wait"}
}

// children are those of any of the roles.
func (l *Look) children(roles ...pg.Role) []pg.Child {
	var found []pg.Child
	for _, child := range l.Children {
		for _, role := range roles {
			if child.Role == role {
				found = append(found, child)
			}
		}
	}
	return found
}

// shown is how many processes a message names.
const shown = 5

func titles(children []pg.Child) string {
	all := make([]pg.Process, len(children))
	for i, child := range children {
		all[i] = child.Process
	}
	return processes(all)
}

// processes names processes by number and title.
func processes(all []pg.Process) string {
	var texts []string
	for i, p := range all {
		if i == shown {
			texts = append(texts, fmt.Sprintf("and %d more", len(all)-shown))
			break
		}
		title := strings.TrimSpace(strings.ReplaceAll(strings.TrimRight(p.Title, "\x00"), "\x00", " "))
		texts = append(texts, fmt.Sprintf("%d (%s)", p.PID, title))
	}
	return strings.Join(texts, ", ")
}

func running(commands []pg.Process) string {
	if len(commands) == 0 {
		return ""
	}
	return "; it runs " + processes(commands)
}
