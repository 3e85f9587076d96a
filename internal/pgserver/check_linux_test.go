package pgserver

import (
	"fmt"
	"path/filepath"
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
	r.stop(StopOptions{Walsender: WalsenderTerminate})
	status(PhaseClean)
	r.Start()
	r.Crash()
	status(PhaseKilled)
}
