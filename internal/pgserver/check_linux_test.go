package pgserver

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan/internal/capstantest/pgtest"
)

// What a check finds on servers of every version, and what it measures.
func TestCheck(t *testing.T) {
	perMajor(t, func(t *testing.T, major int) {
		conf, _ := archiving(t, "0.2")
		conf = append(conf, "max_prepared_transactions = 2", "wal_sender_timeout = 0", "logical_decoding_work_mem = 64kB", "max_slot_wal_keep_size = 1GB")
		if major >= 18 {
			conf = append(conf, "idle_replication_slot_timeout = 1h")
		}
		r := newRig(t, major, conf...)
		r.Start()
		r.logical("lag")
		r.Exec("create table p (n int)")
		conn := r.Conn("postgres")
		for _, statement := range []string{"begin", "insert into p values (1)", "prepare transaction 'p'", "begin", "insert into p values (2)"} {
			if _, err := conn.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		if major <= 14 {
			r.Exec("select pg_start_backup('exclusive', true)")
		}
		// Spill files: one for each subtransaction.
		r.Exec(`do $$ begin for i in 1..1100 loop begin insert into t values (i, repeat('x', 200)); exception when others then null; end; end loop; end $$`)
		r.backlog(6)
		var report CheckReport
		levels := map[string]Level{}
		pgtest.Eventually(t, time.Minute, func() (bool, string) {
			var err error
			if report, err = Check(t.Context(), r.env(), r.cluster, "", ""); err != nil {
				t.Fatal(err)
			}
			for _, finding := range report.Findings {
				levels[finding.What] = finding.Level
			}
			spilled := len(names(t, filepath.Join(r.Data, "pg_replslot/lag/xid-*.spill")))
			return levels["archive backlog"] == Slows && report.Archive.SecondsPerFile > 0 && spilled > 500 && report.Spill["lag"] == int64(spilled),
				fmt.Sprintf("%d spilled, %+v", spilled, report)
		})
		want := map[string]Level{"walsender": Blocks, "wal_sender_timeout": Blocks, "prepared transactions": Notes, "max_slot_wal_keep_size": Notes}
		if major >= 18 {
			want["idle_replication_slot_timeout"] = Notes
		}
		if major <= 14 {
			want["exclusive backup"] = Blocks
		}
		for what, level := range want {
			if levels[what] != level {
				t.Errorf("%s: %q, want %s", what, levels[what], level)
			}
		}
		if s := report.Archive.SecondsPerFile; s < 0.19 || s > 5 {
			t.Errorf("%v s a file, want about 0.2", s)
		}
		if len(report.Senders) != 1 || !report.Senders[0].Logical || report.Senders[0].Slot != "lag" || !report.Connected {
			t.Errorf("%+v", report.Senders)
		}
		if report.Stop.Max != nil || report.Start.Max == nil || report.Crash.Max == nil || *report.Crash.Max < *report.Start.Max {
			t.Errorf("%+v, %+v, %+v", report.Stop, report.Start, report.Crash)
		}
		r.Crash() // what is held up here is another test's
	})
}

// finding is the one of that name whose detail has the words.
func finding(report CheckReport, what, words string) (Finding, bool) {
	for _, f := range report.Findings {
		if f.What == what && strings.Contains(f.Detail, words) {
			return f, true
		}
	}
	return Finding{}, false
}

// A base backup that is under way, a standby that never answers, a slot without a
// consumer, a prepared transaction and spill files of an open one: all are told of,
// with estimates that are bounded. Then a stop meets just these.
func TestCheckFindings(t *testing.T) {
	perTable(t, func(t *testing.T, major int) {
		r := newRig(t, major, append(pgtest.SpillConf(), "max_prepared_transactions = 2", "max_slot_wal_keep_size = 1GB", "wal_sender_timeout = 1h")...)
		r.Start()
		r.Exec("create table p (n int)", "select pg_create_logical_replication_slot(name, 'test_decoding') from unnest('{idle,busy}'::text[]) name")
		conn := r.Conn("postgres")
		for _, statement := range []string{"begin", "insert into p values (1)", "prepare transaction 'p'"} {
			if _, err := conn.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		r.Spill("busy", 2500)
		r.consume("BASE_BACKUP (LABEL 'held', CHECKPOINT 'fast')") // more than a socket holds, and nobody reads
		r.consume("START_REPLICATION PHYSICAL " + r.Text("select pg_current_wal_flush_lsn()"))
		var report CheckReport
		pgtest.Eventually(t, time.Minute, func() (bool, string) {
			var err error
			if report, err = Check(t.Context(), r.env(), r.cluster, "", ""); err != nil {
				t.Fatal(err)
			}
			_, spills := finding(report, "spill files", "the next start removes them")
			return spills && len(report.Senders) == 3, fmt.Sprintf("%+v", report)
		})
		for _, want := range []struct {
			level       Level
			what, words string
		}{
			{Blocks, "walsender", "logical walsender"},
			{Blocks, "walsender", "has never answered"},
			{Notes, "base backup", "the stop ends it"},
			{Notes, "prepared transactions", "1: they do not block"},
			{Notes, "max_slot_wal_keep_size", "1 without a consumer (idle: reserved, "},
			{Slows, "spill files", "spill files: the next start"},
		} {
			if f, ok := finding(report, want.what, want.words); !ok || f.Level != want.level {
				t.Errorf("%s %s with %q is not among %+v", want.level, want.what, want.words, report.Findings)
			}
		}
		// The walsenders' timeout is the bound of the stop, spill files that of the start.
		spilled := float64(report.Spill["busy"])
		if report.Stop.Max == nil || *report.Stop.Max < 3600 || report.Start.Max == nil || *report.Start.Max != spilled/cleanedPerSecond || spilled < 1000 {
			t.Errorf("%+v, %+v, %v spill files", report.Stop, report.Start, spilled)
		}
		if report.Crash.Max == nil || *report.Crash.Max <= *report.Start.Max || len(report.Crash.Says) != 3 || len(report.Stop.Says) != 4 {
			t.Errorf("%+v, %+v", report.Crash, report.Stop)
		}
		r.stop(StopOptions{Walsender: WalsenderTerminate})
		r.Start()
		if prepared := r.Text("select count(*) from pg_prepared_xacts"); prepared != "1" {
			t.Errorf("%s prepared transactions after the start, want 1", prepared)
		}
	})
}

// A transaction of more than a minute, which is waited for, and an archive command
// that fails.
func TestCheckLongTransaction(t *testing.T) {
	t.Parallel()
	rigs := map[int]*rig{}
	for _, major := range []int{15, 17, 18} {
		r := newRig(t, major, "archive_mode = on", "archive_command = 'false'")
		rigs[major] = r
		r.Start()
		conn := r.Conn("postgres")
		if _, err := conn.Exec(t.Context(), "begin"); err != nil {
			t.Fatal(err)
		}
		r.backlog(2)
	}
	<-time.After(longTransaction) // all wait together, and nobody looks meanwhile
	for major, r := range rigs {
		pgtest.Eventually(t, time.Minute, func() (bool, string) {
			report, err := Check(t.Context(), r.env(), r.cluster, "", "")
			if err != nil {
				t.Fatal(err)
			}
			long, found := finding(report, "long transactions", "1, the oldest for 1m")
			fails, failing := finding(report, "archiving fails", "the files stay ready")
			_, backlog := finding(report, "archive backlog", "2 WAL files are ready")
			ok := found && long.Level == Notes && failing && fails.Level == Notes && report.Archive.Failing && backlog &&
				report.Stop.Max == nil && strings.Contains(strings.Join(report.Stop.Says, "; "), "could not be measured")
			return ok, fmt.Sprintf("%d: %+v", major, report)
		})
		r.stop(StopOptions{}) // none of it blocks
		if ready := names(t, filepath.Join(r.Data, "pg_wal/archive_status/*.ready")); len(ready) < 2 {
			t.Errorf("%q are ready after the stop", ready)
		}
	}
}

// Without a connection a check says what can be seen from outside; nothing at all
// blocks a server that has no consumers.
func TestCheckFromOutside(t *testing.T) {
	t.Parallel()
	r := newRig(t, 17)
	r.Start()
	report, err := Check(t.Context(), r.env(), r.cluster, "postgres://nobody@/postgres?host=/nowhere", "")
	if err != nil || report.Connected || len(r.warns) != 1 || report.Stop.Max != nil || report.Phase != PhaseRunning {
		t.Errorf("%+v, %v, %q", report, err, r.warns)
	}
	report, err = Check(t.Context(), r.env(), r.cluster, "", "")
	if err != nil || !report.Connected || len(report.Findings) != 0 || report.Stop.Max == nil || *report.Stop.Max > 5 {
		t.Errorf("%+v, %v", report, err)
	}
	r.stop(StopOptions{})
	if report, err = Check(t.Context(), r.env(), r.cluster, "", ""); err != nil || report.Connected || len(report.Findings) != 1 || report.Findings[0].What != string(PhaseClean) {
		t.Errorf("%+v, %v", report, err)
	}
}

// Status names phase, blocker and the next command, from running to stopped.
func TestStatus(t *testing.T) {
	t.Parallel()
	r := newRig(t, 15, "wal_sender_timeout = 0")
	status := func(want Phase) StatusReport {
		t.Helper()
		report, err := Status(t.Context(), r.env(), r.cluster, "")
		if err != nil || report.Phase != want || report.Next == "" || report.Why == "" || (report.Since.IsZero() && want != PhaseKilled) {
			t.Fatalf("%+v, %v; want %s", report, err, want)
		}
		return report
	}
	status(PhaseClean)
	r.Start()
	status(PhaseRunning)
	r.logical("lag")
	r.Exec("insert into t values (1)")
	began := time.Now()
	r.Signal(2)
	r.until(PhaseWalsender)
	if report := status(PhaseWalsender); len(report.Blockers) != 1 || report.Status != "stopping" || report.Since.Before(began.Add(-2*time.Second)) {
		t.Errorf("%+v", report)
	}
	check, err := Check(t.Context(), r.env(), r.cluster, "", "")
	if found, ok := finding(check, string(PhaseWalsender), "has to end"); err != nil || !ok || found.Level != Blocks {
		t.Errorf("%+v, %v", check.Findings, err)
	}
	// A time that is over before the first look ends with the phase and the next command.
	observer, err := NewObserver(t.Context(), r.cluster, "")
	if err != nil {
		t.Fatal(err)
	}
	s := &stopper{env: r.env().filled(), cluster: r.cluster, observer: observer, options: StopOptions{Timeout: time.Second}}
	s.stage = s.env.Tracker.Stage("stop")
	over, cancel := context.WithCancelCause(t.Context())
	cancel(errTimeout)
	if err := s.left(over); err == nil || !strings.Contains(err.Error(), "within 1s: walsender: ") || !strings.Contains(err.Error(), "--walsender=terminate") {
		t.Errorf("%v", err)
	}
	start := &starter{cluster: r.cluster, options: StartOptions{Timeout: time.Second}}
	if err := start.left(over); err == nil || !strings.Contains(err.Error(), "within 1s: nothing was seen") {
		t.Errorf("%v", err)
	}
	r.stop(StopOptions{Walsender: WalsenderTerminate})
	status(PhaseClean)
	r.Start()
	r.Crash()
	status(PhaseKilled)
}
