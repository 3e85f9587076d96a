package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/pg"
	"capstan/internal/pgdata"
)

// A smart stop waits for clients for good; ours makes it fast.
func TestSmartStop(t *testing.T) {
	perTable(t, func(t *testing.T, major int) {
		r := newRig(t, major)
		r.Start()
		r.Conn("postgres")
		r.Signal(syscall.SIGTERM)
		look := r.until(PhaseBackends)
		if len(look.Judge().Blockers) != 1 {
			t.Errorf("%+v", look.Judge())
		}
		summary := r.stop(StopOptions{})
		if len(summary.Actions) != 1 { // the fast stop alone ends it
			t.Errorf("%q", summary.Actions)
		}
	})
}

// A backend that does not end is named and gets SIGTERM, never more.
func TestStuckBackend(t *testing.T) {
	perTable(t, func(t *testing.T, major int) {
		r := newRig(t, major)
		r.Start()
		r.Conn("postgres")
		r.Signal(syscall.SIGTERM)
		backend := r.verdict(PhaseBackends).Blockers[0]
		if err := syscall.Kill(backend.PID, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		summary, err := Stop(t.Context(), r.env(), r.cluster, StopOptions{Timeout: backendGrace + 2*time.Second})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("client backends: a smart stop waits for clients, or backends do not end: %d", backend.PID)) {
			t.Errorf("%v", err)
		}
		if actions := strings.Join(summary.Actions, "\n"); summary.Status != Stopping || !strings.Contains(actions, fmt.Sprintf("SIGTERM to client backend %d (attempt 1)", backend.PID)) {
			t.Errorf("%+v", summary)
		}
		if err := syscall.Kill(backend.PID, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		r.stop(StopOptions{})
	})
}

// The shutdown checkpoint is waited for, before it has begun and while it is written.
func TestShutdownCheckpoint(t *testing.T) {
	perTable(t, func(t *testing.T, major int) {
		r := newRig(t, major)
		r.Start()
		o := r.look()
		checkpointer := o.children(pg.RoleCheckpointer)[0]
		if err := syscall.Kill(checkpointer.PID, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		r.Signal(syscall.SIGINT)
		if verdict := r.verdict(PhaseCheckpoint); len(verdict.Blockers) != 1 || verdict.Blockers[0].PID != checkpointer.PID {
			t.Errorf("%+v", verdict)
		}
		if err := syscall.Kill(checkpointer.PID, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		r.stop(StopOptions{})
	})
}

// The state "shutting down": the checkpointer is held as soon as pg_control says so,
// which is while it writes what is dirty.
func TestShuttingDown(t *testing.T) {
	perTable(t, func(t *testing.T, major int) {
		r := newRig(t, major, "shared_buffers = 128MB")
		r.Start()
		r.Exec("create table dirty (n int, filler text)")
		checkpointer := 0
		for try := 1; checkpointer == 0; try++ {
			if try > 10 {
				t.Fatal("the shutdown checkpoint was never seen")
			}
			r.Exec("insert into dirty select n, repeat('x', 1000) from generate_series(1, 50000) n")
			checkpointer = r.holdCheckpoint()
			if checkpointer == 0 { // it was faster
				r.WaitExit()
				r.Start()
			}
		}
		look := r.until(PhaseCheckpoint)
		if blockers := look.Judge().Blockers; look.Control.State != pgdata.StateShuttingDown || len(blockers) != 1 || blockers[0].PID != checkpointer {
			t.Errorf("%s: %+v", look.Control.State, look.Judge())
		}
		// Nothing is done about it but waiting.
		summary, err := Stop(t.Context(), r.env(), r.cluster, StopOptions{Walsender: WalsenderCut, Archiver: ArchiverAbort, Timeout: time.Second})
		if err == nil || !strings.Contains(err.Error(), string(PhaseCheckpoint)) || summary.State != pgdata.StateShuttingDown.String() || len(summary.Actions) > 1 {
			t.Errorf("%v, %+v", err, summary)
		}
		if err := syscall.Kill(checkpointer, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		r.stop(StopOptions{})
		r.Start()
		if whole := r.Text("select count(*) > 0 and count(*) % 50000 = 0 from dirty"); whole != "t" {
			t.Errorf("%s rows after the start", r.Text("select count(*) from dirty"))
		}
	})
}

// holdCheckpoint stops the server and holds its checkpointer while pg_control says
// "shutting down". It gives the checkpointer, or 0 if that was over too soon.
func (r *rig) holdCheckpoint() int {
	r.t.Helper()
	look := r.look()
	checkpointer := look.children(pg.RoleCheckpointer)[0].PID
	r.Signal(syscall.SIGINT)
	for {
		control, err := r.cluster.Control(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		switch control.State {
		case pgdata.StateShuttingDown:
			_ = syscall.Kill(checkpointer, syscall.SIGSTOP) // it may have ended by now
		case pgdata.StateShutDown:
			return 0
		default:
			continue // as fast as can be: it is short
		}
		if control, err = r.cluster.Control(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
		if control.State == pgdata.StateShuttingDown {
			return checkpointer
		}
		_ = syscall.Kill(checkpointer, syscall.SIGCONT)
		return 0
	}
}

// A cluster name that imitates a role, and no process titles to update: still the
// walsender and nobody else gets the signal.
func TestImitatedRole(t *testing.T) {
	t.Parallel()
	r := newRig(t, 16, "wal_sender_timeout = 0", "cluster_name = 'walsender: x y: checkpointer'", "update_process_title = off")
	r.Start()
	r.logical("lag")
	r.fill()
	r.Signal(syscall.SIGINT)
	blockers := r.verdict(PhaseWalsender).Blockers
	if len(blockers) != 1 {
		t.Errorf("%s", titles(blockers))
	}
	summary := r.stop(StopOptions{Walsender: WalsenderTerminate})
	for _, action := range summary.Actions[1:] {
		if !strings.Contains(action, fmt.Sprintf("walsender %d", blockers[0].PID)) {
			t.Errorf("%q", summary.Actions)
		}
	}
	// With a wrong name nobody has a role, and nobody is signalled.
	r.Start()
	r.logical("other")
	r.fill()
	r.Signal(syscall.SIGINT)
	r.until(PhaseWalsender)
	summary, err := Stop(t.Context(), r.env(), r.cluster, StopOptions{Walsender: WalsenderCut, ClusterName: "main", Timeout: 3 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "--cluster-name") || len(summary.Actions) != 1 {
		t.Errorf("%v, %+v", err, summary)
	}
	r.stop(StopOptions{Walsender: WalsenderTerminate})
}

// Killed while it archived: clean, but the command works on. That is no success
// until the command has ended.
func TestOrphanedArchiveCommand(t *testing.T) {
	perTable(t, func(t *testing.T, major int) {
		for _, policy := range []ArchiverPolicy{ArchiverWait, ArchiverAbort} {
			t.Run(string(policy), func(t *testing.T) {
				t.Parallel()
				conf, _ := archiving(t, "4")
				r := newRig(t, major, conf...)
				r.Start()
				r.backlog(1)
				r.Signal(syscall.SIGINT)
				archiver := r.verdict(PhaseArchiver).Blockers[0]
				pgtest.Eventually(t, time.Minute, func() (bool, string) { look := r.look(); return len(look.Commands) > 0, "no command" })
				r.Signal(syscall.SIGKILL)
				_ = syscall.Kill(archiver.PID, syscall.SIGKILL)
				r.WaitExit()
				look := r.until(PhaseOrphans)
				if look.Server.Presence != pg.Dead || !look.Control.State.Clean() || len(look.Strays) == 0 {
					t.Errorf("%+v", look)
				}
				began := time.Now()
				summary := r.stop(StopOptions{Archiver: policy})
				if (len(summary.Actions) > 0) != (policy == ArchiverAbort) {
					t.Errorf("%s: %q in %s", policy, summary.Actions, time.Since(began))
				}
				// Killed after its checkpoint: nothing is to be recovered, and nothing is lost.
				if look = r.look(); look.Server.Presence != pg.Dead || !strings.Contains(look.Judge().Why, "killed after its shutdown checkpoint") {
					t.Errorf("%+v", look.Judge())
				}
				r.Conf("archive_command = 'true'")
				r.Start()
				if n := r.Text("select count(*) from b"); n != "1" || strings.Contains(r.LogTail(), "automatic recovery in progress") {
					t.Errorf("%s rows after the start:\n%s", n, r.LogTail())
				}
			})
		}
	})
}

// Killed while it was in production: a stop does not call that stopped.
func TestKilledServer(t *testing.T) {
	perTable(t, func(t *testing.T, major int) {
		r := newRig(t, major)
		r.Start()
		r.Exec("create table kept (n int)", "insert into kept values (1)")
		r.Crash()
		if verdict := r.verdict(PhaseKilled); !strings.Contains(verdict.Why, "in production") {
			t.Errorf("%+v", verdict)
		}
		summary, err := Stop(t.Context(), r.env(), r.cluster, StopOptions{})
		if err == nil || summary.Status != NotClean || !strings.Contains(err.Error(), "recover") {
			t.Errorf("%v, %+v", err, summary)
		}
		r.Start()
		if n := r.Text("select count(*) from kept"); n != "1" {
			t.Errorf("%s rows after the recovery, want 1", n)
		}
		r.stop(StopOptions{})
		summary = r.stop(StopOptions{}) // of a stopped one
		if len(summary.Actions) != 0 || len(r.audit) == 0 {
			t.Errorf("%q, %q", summary.Actions, r.audit)
		}
	})
}

// A standby that hangs holds up the end of its primary's stop, which ending its
// walsender finishes; nothing is lost for the standby. It stops too: its cluster is
// then shut down in recovery.
func TestStopStandby(t *testing.T) {
	perTable(t, func(t *testing.T, major int) {
		primary, r := newRig(t, major, "wal_sender_timeout = 0"), newRig(t, major)
		primary.Start()
		if err := os.WriteFile(filepath.Join(r.Data, "standby.signal"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		r.Conf("primary_conninfo = '"+primary.DSN("postgres")+"'", "wal_retrieve_retry_interval = 100ms")
		r.Start()
		if control := r.look().Control; control.State != pgdata.StateArchiveRecovery {
			t.Errorf("%s", control.State)
		}
		primary.Exec("create table s (n int)")
		pgtest.Eventually(t, time.Minute, func() (bool, string) {
			return r.Text("select count(*) from pg_class where relname = 's'") == "1", "the standby does not follow"
		})
		receiver, err := strconv.Atoi(r.Text("select pid from pg_stat_wal_receiver"))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(receiver, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		primary.Exec("insert into s values (1)")
		primary.Signal(syscall.SIGINT)
		look := primary.until(PhaseStandby)
		if len(look.Judge().Blockers) != 1 || look.Control.State != pgdata.StateShutDown {
			t.Errorf("%s: %+v", look.Control.State, look.Judge())
		}
		if summary := primary.stop(StopOptions{Walsender: WalsenderTerminate}); !strings.Contains(strings.Join(summary.Actions, "\n"), "SIGTERM to walsender") {
			t.Errorf("%q", summary.Actions)
		}
		if err := syscall.Kill(receiver, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		primary.Start()
		pgtest.Eventually(t, time.Minute, func() (bool, string) {
			return r.Text("select count(*) from s") == "1", "the standby lacks the row"
		})
		if summary := r.stop(StopOptions{}); summary.State != pgdata.StateShutDownInRecovery.String() {
			t.Errorf("%+v", summary)
		}
		primary.stop(StopOptions{})
	})
}

// The server is started again while it is being stopped, as a supervisor does.
func TestStartedAgain(t *testing.T) {
	perTable(t, func(t *testing.T, major int) {
		r := newRig(t, major, "wal_sender_timeout = 0")
		r.Start()
		r.logical("lag")
		r.Exec("insert into t values (1)")
		r.Signal(syscall.SIGINT)
		r.until(PhaseWalsender)
		env, again := r.env(), make(chan struct{}, 1)
		say := env.Say
		env.Say = func(format string, args ...any) {
			say(format, args...)
			if strings.HasPrefix(fmt.Sprintf(format, args...), string(PhaseWalsender)) {
				again <- struct{}{}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		failed := make(chan error, 1)
		go func() {
			_, err := Stop(ctx, env, r.cluster, StopOptions{})
			failed <- err
		}()
		<-again
		// All in the moment between two looks.
		old := r.Exited()
		r.Signal(syscall.SIGQUIT)
		<-old
		r.Spawn()
		err := <-failed
		if err == nil || (!strings.Contains(err.Error(), "a new server") && !strings.Contains(err.Error(), "recover")) {
			t.Errorf("%v", err)
		}
	})
}

// A person's job that was left in PGDATA is told of and waited for, not ended.
func TestForeignJobInDirectory(t *testing.T) {
	t.Parallel()
	r := newRig(t, 18)
	// Its session's leader ends at once, as a closed terminal's does.
	job := exec.CommandContext(t.Context(), "setsid", "--fork", "sh", "-c", "sleep 30 >/dev/null 2>&1 & echo $!")
	job.Dir = r.Data
	out, err := job.Output()
	if err != nil {
		t.Fatal(err)
	}
	look := r.until(PhaseOrphans)
	if len(look.Strays) != 1 || strings.TrimSpace(string(out)) != strconv.Itoa(look.Strays[0].PID) || r.cluster.FromServer(look.Strays[0]) {
		t.Errorf("%q: %+v", out, look.Strays)
	}
	summary, err := Stop(t.Context(), r.env(), r.cluster, StopOptions{Archiver: ArchiverAbort, Timeout: time.Second})
	if err == nil || len(summary.Actions) > 0 || summary.Status != Stopping {
		t.Errorf("%v, %+v", err, summary)
	}
	if look := r.look(); len(look.Strays) != 1 {
		t.Errorf("%+v", look.Strays)
	}
}

// A timeout before the server was told to stop puts everything back and says so.
func TestTimeoutBeforeTheStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, 15)
	r.Start()
	r.Exec("create role sync login")
	checkpointer := func() int { look := r.look(); return look.children(pg.RoleCheckpointer)[0].PID }()
	if err := syscall.Kill(checkpointer, syscall.SIGSTOP); err != nil { // the CHECKPOINT hangs
		t.Fatal(err)
	}
	summary, err := Stop(t.Context(), r.env(), r.cluster, StopOptions{LockRole: "sync", Timeout: 2 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "not begun within 2s") || summary.Status != NotBegun || len(summary.Pending) > 0 {
		t.Errorf("%v, %+v", err, summary)
	}
	if err := syscall.Kill(checkpointer, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if login := r.Text("select rolcanlogin from pg_roles where rolname = 'sync'"); login != "t" {
		t.Errorf("the role may log in: %s", login)
	}
	r.stop(StopOptions{})
}
