package pgserver

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/pg"
	"capstan/internal/pgdata"
)

// perMajor runs a test on servers of every version.
func perMajor(t *testing.T, test func(t *testing.T, major int)) {
	t.Helper()
	onMajors(t, pgtest.Majors(), test)
}

// perTable runs a test on servers of the versions on which every row of the decision
// table is produced.
func perTable(t *testing.T, test func(t *testing.T, major int)) {
	t.Helper()
	onMajors(t, []int{15, 17, 18}, test)
}

func onMajors(t *testing.T, majors []int, test func(t *testing.T, major int)) {
	t.Helper()
	t.Parallel()
	for _, major := range majors {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			test(t, major)
		})
	}
}

// A logical walsender whose consumer reads nothing and whose timeout is off: one
// SIGTERM fails, ours ends the stop within 5 s, and the slot loses nothing.
func TestWalsenderWithFullSocket(t *testing.T) {
	perMajor(t, func(t *testing.T, major int) {
		r := newRig(t, major, "wal_sender_timeout = 0")
		r.Start()
		r.logical("lag")
		r.fill()
		r.Signal(syscall.SIGINT)
		look := r.until(PhaseWalsender)
		if look.Control.State != pgdata.StateInProduction || look.Server.File.Status != pgdata.StatusStopping || len(look.Judge().Blockers) != 1 {
			t.Errorf("%+v", look)
		}
		// One SIGTERM: it is still there after a while.
		walsender := look.Judge().Blockers[0]
		if err := r.cluster.Signal(walsender.Process, syscall.SIGTERM, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-r.Exited():
			t.Error("one SIGTERM ended it: this is not the case that is to be tested")
		case <-time.After(2 * time.Second):
		}
		began := time.Now()
		summary := r.stop(StopOptions{Walsender: WalsenderCut})
		took := time.Since(began)
		t.Logf("stop took %s: %q", took, summary.Actions)
		if took > 5*time.Second {
			t.Errorf("the stop took %s", took)
		}
		r.Start()
		// Everything comes again, once: the rows, and nothing is lost.
		if n := r.Text("select count(*) from pg_logical_slot_get_changes('lag', null, null) where data like 'table public.t: INSERT%'"); n != "20000" {
			t.Errorf("%s changes after the start, want 20000", n)
		}
	})
}

// A consumer that reads and never answers, under each policy that acts. Its slot
// loses nothing.
func TestWalsenderPolicies(t *testing.T) {
	perTable(t, func(t *testing.T, major int) {
		for _, policy := range []WalsenderPolicy{WalsenderTerminate, WalsenderCut} {
			t.Run(string(policy), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, major, "wal_sender_timeout = 0")
				r.Start()
				r.logical("lag")
				r.Exec("insert into t values (1)")
				summary := r.stop(StopOptions{Walsender: policy})
				if !strings.Contains(strings.Join(summary.Actions, "\n"), "SIGTERM to walsender") {
					t.Errorf("%q", summary.Actions)
				}
				r.Start()
				if n := r.Text("select count(*) from pg_logical_slot_get_changes('lag', null, null) where data like 'table public.t: INSERT%'"); n != "1" {
					t.Errorf("%s changes after the start, want 1", n)
				}
			})
		}
	})
}

// With wait a walsender is left alone until the time is over; the server then goes
// on stopping, and another call with another policy ends it.
func TestWalsenderWaitTimesOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, 18, "wal_sender_timeout = 0")
	r.Start()
	r.logical("lag")
	r.fill()
	r.Signal(syscall.SIGINT)
	r.until(PhaseWalsender)
	summary, err := Stop(t.Context(), r.env(), r.cluster, StopOptions{Timeout: time.Second})
	told, ok := errors.AsType[*capstan.Error](err)
	if !ok || !strings.Contains(err.Error(), "not stopped within 1s: walsender") || summary.Status != Stopping || !strings.Contains(told.Next, "--walsender=terminate") {
		t.Fatalf("%v, %+v", err, summary)
	}
	if phases := summary.Phases; len(phases) != 1 || phases[0].Phase != PhaseWalsender || phases[0].Seconds < 0.1 {
		t.Errorf("%+v", phases)
	}
	r.until(PhaseWalsender)
	r.stop(StopOptions{Walsender: WalsenderTerminate})
}

// A physical walsender blocks after the shutdown checkpoint.
func TestPhysicalWalsender(t *testing.T) {
	perMajor(t, func(t *testing.T, major int) {
		r := newRig(t, major, "wal_sender_timeout = 0")
		r.Start()
		r.consume("START_REPLICATION PHYSICAL " + r.Text("select pg_current_wal_flush_lsn()"))
		r.Signal(syscall.SIGINT)
		look := r.until(PhaseStandby)
		if look.Control.State != pgdata.StateShutDown {
			t.Errorf("%s", look.Control.State)
		}
		r.stop(StopOptions{Walsender: WalsenderTerminate})
	})
}

// An archiver with a backlog, recognised on every version, and ended by each
// policy: nothing that was not archived is lost, no command works on.
func TestArchiver(t *testing.T) {
	perMajor(t, func(t *testing.T, major int) {
		policies := []ArchiverPolicy{ArchiverFinish, ArchiverAbort, ArchiverPause, ArchiverWait}
		if some, ok := map[int][]ArchiverPolicy{13: {ArchiverFinish}, 14: {ArchiverPause}, 16: {ArchiverAbort}}[major]; ok {
			policies = some // the others take the CPU of all of these
		}
		for _, policy := range policies {
			seconds := "1.5"
			if policy == ArchiverWait {
				seconds = "0.8"
			}
			conf, dir := archiving(t, seconds)
			r := newRig(t, major, conf...)
			r.Start()
			r.backlog(4)
			r.Signal(syscall.SIGINT)
			look := r.until(PhaseArchiver)
			if !look.Control.State.Clean() || look.Server.File.Status != pgdata.StatusStopping {
				t.Errorf("%+v", look)
			}
			pgtest.Eventually(t, time.Minute, func() (bool, string) { // the checkpointer's end comes after what it wrote
				now := r.look()
				return len(now.children(pg.RoleArchiver)) == 1 && (len(now.children(pg.RoleCheckpointer)) > 0) == (major >= 18), titles(now.Children)
			})
			before, err := r.cluster.ReadFile(autoConf, autoConfLimit)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			summary := r.stop(StopOptions{Archiver: policy})
			t.Logf("%s took %s: %q", policy, time.Since(began), summary.Actions)
			if after, err := r.cluster.ReadFile(autoConf, autoConfLimit); err != nil || string(after) != string(before) || len(summary.Pending) > 0 {
				t.Errorf("%s: postgresql.auto.conf is %q, was %q, %v; pending %v", policy, after, before, err, summary.Pending)
			}
			archived := len(names(t, filepath.Join(dir, "0*")))
			ready := len(names(t, filepath.Join(r.Data, "pg_wal/archive_status/*.ready")))
			if ready == 0 != (policy == ArchiverWait) || archived+ready < 4 {
				t.Errorf("%s: %d archived, %d ready", policy, archived, ready)
			}
			// The next server archives the rest.
			r.Conf("archive_command = 'cp %p " + dir + "/%f'")
			r.Start()
			pgtest.Eventually(t, time.Minute, func() (bool, string) {
				left := len(names(t, filepath.Join(r.Data, "pg_wal/archive_status/*.ready")))
				return left == 0, strconv.Itoa(left) + " files left"
			})
			if n := r.Text("select count(*) from b"); n != "4" {
				t.Errorf("%s rows, want 4", n)
			}
			r.Stop()
		}
	})
}
