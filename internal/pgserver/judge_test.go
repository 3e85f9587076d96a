package pgserver

import (
	"testing"
	"time"

	"capstan/internal/pg"
	"capstan/internal/pgdata"
)

// What a server that was killed has left behind did not begin with its last checkpoint.
func TestSinceOfOrphans(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 20, 0, 0, 0, time.UTC)
	for state, want := range map[pgdata.State]time.Time{pgdata.StateShutDown: at, pgdata.StateInProduction: {}} {
		look := Look{Control: pgdata.Control{State: state, Modified: at}}
		if got := look.since(PhaseOrphans); !got.Equal(want) {
			t.Errorf("%s: since %s, want %s", state, got, want)
		}
	}
}

// Every row of the decision table, also those that no test can hold a server in.
func TestJudge(t *testing.T) {
	t.Parallel()
	const (
		production, shutting = pgdata.StateInProduction, pgdata.StateShuttingDown
		down, downRecovery   = pgdata.StateShutDown, pgdata.StateShutDownInRecovery
	)
	tests := []struct {
		name     string
		presence pg.Presence
		status   string
		state    pgdata.State
		roles    []pg.Role
		files    StartupFiles
		strays   int
		want     Phase
		blockers int
	}{
		{"running", pg.Alive, "ready", production, []pg.Role{pg.RoleCheckpointer, pg.RoleBackend, pg.RoleWalsender}, StartupFiles{}, 0, PhaseRunning, 0},
		{"standby", pg.Alive, "standby", pgdata.StateArchiveRecovery, []pg.Role{pg.RoleStartup}, StartupFiles{}, 0, PhaseRunning, 0},
		{"smart", pg.Alive, "stopping", production, []pg.Role{pg.RoleCheckpointer, pg.RoleBackend, pg.RoleWalsender}, StartupFiles{}, 0, PhaseBackends, 1},
		{"stuck worker", pg.Alive, "stopping", production, []pg.Role{pg.RoleCheckpointer, pg.RoleWorker}, StartupFiles{}, 0, PhaseBackends, 1},
		{"logical", pg.Alive, "stopping", production, []pg.Role{pg.RoleCheckpointer, pg.RoleWalsender, pg.RoleAuxiliary}, StartupFiles{}, 0, PhaseWalsender, 1},
		{"of a standby", pg.Alive, "stopping", pgdata.StateArchiveRecovery, []pg.Role{pg.RoleCheckpointer, pg.RoleWalsender}, StartupFiles{}, 0, PhaseWalsender, 1},
		{"checkpoint to come", pg.Alive, "stopping", production, []pg.Role{pg.RoleCheckpointer}, StartupFiles{}, 0, PhaseCheckpoint, 1},
		{"checkpoint", pg.Alive, "stopping", shutting, []pg.Role{pg.RoleCheckpointer, pg.RoleWalsender}, StartupFiles{}, 0, PhaseCheckpoint, 1},
		{"physical", pg.Alive, "stopping", down, []pg.Role{pg.RoleWalsender, pg.RoleArchiver}, StartupFiles{}, 0, PhaseStandby, 1},
		{"physical of a standby", pg.Alive, "stopping", downRecovery, []pg.Role{pg.RoleWalsender}, StartupFiles{}, 0, PhaseStandby, 1},
		{"archiver", pg.Alive, "stopping", down, []pg.Role{pg.RoleArchiver}, StartupFiles{}, 0, PhaseArchiver, 1},
		{"archiver of 18", pg.Alive, "stopping", down, []pg.Role{pg.RoleArchiver, pg.RoleCheckpointer, pg.RoleAuxiliary}, StartupFiles{}, 0, PhaseArchiver, 1},
		{"ending", pg.Alive, "stopping", down, []pg.Role{pg.RoleExiting, pg.RoleAuxiliary}, StartupFiles{}, 0, PhaseEnding, 0},
		{"unknown", pg.Alive, "stopping", production, []pg.Role{pg.RoleUnknown, pg.RoleUnknown}, StartupFiles{}, 0, PhaseUnknown, 2},
		{"sync", pg.Alive, "starting", production, []pg.Role{pg.RoleStartup}, StartupFiles{Spill: true, SlotDir: true}, 0, PhaseSync, 1},
		{"cleanup", pg.Alive, "starting", production, []pg.Role{pg.RoleStartup}, StartupFiles{SlotDir: true}, 0, PhaseCleanup, 1},
		{"cleanup, told to stop", pg.Alive, "stopping", production, []pg.Role{pg.RoleStartup}, StartupFiles{SlotDir: true}, 0, PhaseCleanup, 1},
		{"replay", pg.Alive, "starting", pgdata.StateCrashRecovery, []pg.Role{pg.RoleStartup}, StartupFiles{WAL: true}, 0, PhaseRecovery, 1},
		{"temporary files", pg.Alive, "starting", down, nil, StartupFiles{}, 0, PhaseStartingPre, 0},
		{"pid file just written", pg.Alive, "", down, nil, StartupFiles{}, 0, PhaseStartingPre, 0},
		{"clean", pg.Absent, "", down, nil, StartupFiles{}, 0, PhaseClean, 0},
		{"clean standby", pg.Absent, "", downRecovery, nil, StartupFiles{}, 0, PhaseClean, 0},
		{"killed after the checkpoint", pg.Dead, "stopping", down, nil, StartupFiles{}, 0, PhaseClean, 0},
		{"killed", pg.Dead, "ready", production, nil, StartupFiles{}, 0, PhaseKilled, 0},
		{"killed in the checkpoint", pg.Dead, "stopping", shutting, nil, StartupFiles{}, 0, PhaseKilled, 0},
		{"crashed, pid file gone", pg.Absent, "", production, nil, StartupFiles{}, 0, PhaseKilled, 0},
		{"orphans of a clean one", pg.Dead, "stopping", down, nil, StartupFiles{}, 1, PhaseOrphans, 0},
		{"orphans", pg.Dead, "ready", production, nil, StartupFiles{}, 2, PhaseOrphans, 0},
		{"foreign", pg.Foreign, "ready", production, nil, StartupFiles{}, 0, PhaseForeign, 0},
	}
	for _, test := range tests {
		look := Look{
			Server: pg.Server{Presence: test.presence, File: pgdata.PIDFile{PID: 1, Status: test.status}}, Control: pgdata.Control{State: test.state},
			Startup: test.files, Strays: make([]pg.Process, test.strays),
		}
		for i, role := range test.roles {
			look.Children = append(look.Children, pg.Child{Process: pg.Process{PID: 100 + i}, Role: role})
		}
		verdict := look.Judge()
		if verdict.Phase != test.want || len(verdict.Blockers) != test.blockers || verdict.Why == "" {
			t.Errorf("%s: %+v, want %s with %d", test.name, verdict, test.want, test.blockers)
		}
	}
	single := Look{Server: pg.Server{Presence: pg.Alive, File: pgdata.PIDFile{Single: true}}}
	if verdict := single.Judge(); verdict.Phase != PhaseSingle {
		t.Errorf("%+v", verdict)
	}
}
