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
	t.Parallel()
	r := newRig(t, 15)
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
}

// A backend that does not end is named and gets SIGTERM, never more.
func TestStuckBackend(t *testing.T) {
	t.Parallel()
	r := newRig(t, 17)
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
}

// The shutdown checkpoint is waited for, before it has begun and while it is written.
func TestShutdownCheckpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t, 18)
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
	t.Parallel()
	for _, policy := range []ArchiverPolicy{ArchiverWait, ArchiverAbort} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			conf, _ := archiving(t, "4")
			r := newRig(t, 15, conf...)
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
		})
	}
}

// Killed while it was in production: a stop does not call that stopped.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, 18)
	r.Start()
	r.Crash()
	summary, err := Stop(t.Context(), r.env(), r.cluster, StopOptions{})
	if err == nil || summary.Status != NotClean || !strings.Contains(err.Error(), "recover") {
		t.Errorf("%v, %+v", err, summary)
	}
	r.Start()
	r.stop(StopOptions{})
	summary = r.stop(StopOptions{}) // of a stopped one
	if len(summary.Actions) != 0 || len(r.audit) == 0 {
		t.Errorf("%q, %q", summary.Actions, r.audit)
	}
}

// A standby stops too; its cluster is then shut down in recovery.
func TestStopStandby(t *testing.T) {
	t.Parallel()
	primary, r := newRig(t, 17), newRig(t, 17)
	primary.Start()
	if err := os.WriteFile(filepath.Join(r.Data, "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.Conf("primary_conninfo = '" + primary.DSN("postgres") + "'")
	r.Start()
	if control := r.look().Control; control.State != pgdata.StateArchiveRecovery {
		t.Errorf("%s", control.State)
	}
	if summary := r.stop(StopOptions{}); summary.State != pgdata.StateShutDownInRecovery.String() {
		t.Errorf("%+v", summary)
	}
	primary.stop(StopOptions{})
}

// The server is started again while it is being stopped, as a supervisor does.
func TestStartedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 15, "wal_sender_timeout = 0")
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
