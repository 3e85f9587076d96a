package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/pg"
	"capstan/internal/pgslot"
)

// spilling is a rig whose server spills early and syncs as servers do.
func spilling(t *testing.T, major int, conf ...string) *rig {
	t.Helper()
	return newRig(t, major, append(append(pgtest.SpillConf(), "fsync = on", "wal_receiver_status_interval = 1s", "wal_retrieve_retry_interval = 100ms"), conf...)...)
}

// startEnv is the rig's Env for a start.
func (r *rig) startEnv() Env {
	env := r.env()
	env.Audit = func(_ context.Context, action, object, detail string) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.audit = append(r.audit, action+" "+detail)
		return nil
	}
	return env
}

// begin starts the server by Start.
func (r *rig) begin(options StartOptions) StartSummary {
	r.t.Helper()
	summary, err := r.tryBegin(options)
	if err != nil {
		r.t.Fatalf("%v; %+v\n%s", err, summary, r.startLog())
	}
	return summary
}

func (r *rig) tryBegin(options StartOptions) (StartSummary, error) {
	r.t.Helper()
	options.Bin = r.Bin
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Minute)
	defer cancel()
	return Start(ctx, r.startEnv(), r.cluster, options)
}

func (r *rig) startLog() string {
	text, _ := os.ReadFile(DefaultLog(r.Data))
	return string(text)
}

// subscribed is a pair of servers of one version, and the slot between them.
func subscribed(t *testing.T, major int) (publisher, subscriber *rig) {
	t.Helper()
	publisher, subscriber = spilling(t, major), spilling(t, major)
	publisher.Server.Start()
	subscriber.Server.Start()
	for _, r := range []*rig{publisher, subscriber} {
		r.Exec("create table rows (n int)", "create table spilled (n int, filler text)")
	}
	publisher.Exec("create publication p for all tables")
	options := "copy_data = false"
	if major >= 14 {
		options += ", streaming = off" // since 18 it is on, and nothing spills
	}
	subscriber.Exec("create subscription s connection '" + publisher.DSN("postgres") + "' publication p with (" + options + ")")
	publisher.rows(1, 1000)
	publisher.arrives(subscriber)
	return publisher, subscriber
}

func (r *rig) rows(from, to int) {
	r.t.Helper()
	r.Exec(fmt.Sprintf("insert into rows select generate_series(%d, %d)", from, to))
}

// arrives waits until both sides have the same rows; it gives how many.
func (r *rig) arrives(subscriber *rig) string {
	r.t.Helper()
	const question = "select count(distinct n) || ' ' || coalesce(sum(n), 0) from (select distinct n from rows) d"
	want := r.Text(question)
	pgtest.Eventually(r.t, time.Minute, func() (bool, string) {
		got := subscriber.Text(question)
		return got == want, "the subscriber has " + got + ", not " + want
	})
	return want
}

// crashSpilled kills the publisher with that many spill files in the slot.
func (r *rig) crashSpilled(files int) {
	r.t.Helper()
	r.SpillOpen("s", 300)
	r.Crash()
	if files > 300 {
		r.Multiply("s", files)
	}
	unix.Sync() // what would be written out by the time that somebody comes is written out
}

// After a crash with many spill files, a plain start beside one with --unstick, in
// one run; the slot and its subscriber go on without loss after both.
func TestUnstickIsFast(t *testing.T) {
	// The disk of a busy machine syncs and removes some hundred files a second.
	for major, files := range map[int]int{15: 30_000, 17: 3000, 18: 3000} {
		if text := os.Getenv("CAPSTAN_TEST_SPILL_FILES"); text != "" { // by hand: 300000
			files, _ = strconv.Atoi(text)
		}
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			publisher, subscriber := subscribed(t, major)
			publisher.crashSpilled(files)
			plain := publisher.begin(StartOptions{})
			if plain.Status != Ready {
				t.Errorf("%+v", plain)
			}
			publisher.rows(1001, 2000)
			publisher.arrives(subscriber)

			publisher.crashSpilled(files)
			before := slotState(t, publisher)
			fast := publisher.begin(StartOptions{Unstick: true})
			t.Logf("%d with %d spill files: plain %.2f s %v, --unstick %.2f s %v: 1/%.0f", major, files, plain.Seconds, plain.Phases, fast.Seconds, fast.Phases, plain.Seconds/fast.Seconds)
			if fast.Seconds > 30 || (files > 10_000 && fast.Seconds > plain.Seconds/2) { // great slack: the machine is busy with much else
				t.Errorf("plain %.2f s, --unstick %.2f s", plain.Seconds, fast.Seconds)
			}
			if len(fast.Quarantined) != 1 || fast.Quarantined[0].Slot != "s" || !fast.Quarantined[0].Verified || fast.Quarantined[0].Step != pgslot.StepStarted {
				t.Errorf("%+v", fast.Quarantined)
			}
			if got := publisher.Text("select count(*) || ' ' || bool_and(restart_lsn >= '" + before + "') from pg_replication_slots"); got != "1 true" {
				t.Errorf("the server's slots: %s; restart_lsn was %s", got, before)
			}
			publisher.rows(2001, 3000)
			if all := publisher.arrives(subscriber); !strings.HasPrefix(all, "3000 ") {
				t.Errorf("both sides have %s rows", all)
			}
			if files < 10_000 || os.Getenv("CAPSTAN_TEST_SPILL_FILES") != "" {
				purge(t, publisher, files)
			}
			if !slices.ContainsFunc(publisher.audit, func(line string) bool { return strings.HasPrefix(line, "pg start slot s: its spill files are in ") }) {
				t.Errorf("%q", publisher.audit)
			}
		})
	}
}

// slotState is the restart_lsn in the state file of the slot s.
func slotState(t *testing.T, r *rig) string {
	t.Helper()
	place, err := Slots(t.Context(), Env{}, r.cluster)
	if err != nil {
		t.Fatal(err)
	}
	reports, err := place.Report(t.Context(), "s", 0)
	if err != nil {
		t.Fatal(err)
	}
	return reports[0].RestartLSN.String()
}

// purge removes what was quarantined, beside the running server.
func purge(t *testing.T, r *rig, files int) {
	t.Helper()
	place, err := Slots(t.Context(), Env{}, r.cluster)
	if err != nil {
		t.Fatal(err)
	}
	records, err := place.Records(t.Context(), pgslot.DefaultRoot(r.Data))
	if err != nil || len(records) != 1 {
		t.Fatalf("%+v, %v", records, err)
	}
	began := time.Now()
	purged, err := place.Purge(t.Context(), &records[0], pgslot.PurgeOptions{Workers: 4})
	if err != nil || purged.Files < int64(files) {
		t.Errorf("%+v, %v", purged, err)
	}
	t.Logf("purged %d files in %s", purged.Files, time.Since(began))
}

// A start that is already held up by spill files is stopped and unstuck; one that is
// not is left alone.
func TestUnstickUnderWay(t *testing.T) {
	t.Parallel()
	for _, major := range []int{13, 15, 18} {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			// A name that imitates a role, and titles that are not kept up.
			r := spilling(t, major, "cluster_name = 'walsender: x y: startup'", fmt.Sprintf("update_process_title = %v", major != 15))
			r.Server.Start()
			r.Spill("s", 300)
			r.Crash()
			// A start that few spill files meet is watched and not stopped.
			r.Spawn()
			pgtest.Eventually(t, time.Minute, func() (bool, string) { return r.PIDFileLine(1) == strconv.Itoa(r.PID()), r.LogTail() })
			if left := r.begin(StartOptions{Unstick: true}); len(left.Quarantined) != 0 || slices.ContainsFunc(left.Actions, func(act string) bool { return strings.Contains(act, "SIGQUIT") }) {
				t.Errorf("%q", left.Actions)
			}
			r.Spill("s", 300)
			r.Crash()
			r.Multiply("s", 20_000)
			before := slotState(t, r)
			r.Spawn()
			pgtest.Eventually(t, time.Minute, func() (bool, string) { return r.PIDFileLine(8) == "starting", "it does not start" })
			summary := r.begin(StartOptions{Unstick: true, Prove: time.Minute})
			if summary.Status != Ready || len(summary.Quarantined) != 1 || len(r.SpillFiles("s")) != 0 {
				t.Errorf("%+v", summary)
			}
			if !slices.ContainsFunc(summary.Actions, func(act string) bool { return strings.Contains(act, "SIGQUIT") }) {
				t.Errorf("%q", summary.Actions)
			}
			if got := r.Text("select string_agg(restart_lsn::text, ',') from pg_replication_slots where slot_name = 's'"); got != before {
				t.Errorf("restart_lsn %q, was %s", got, before)
			}
			again := r.begin(StartOptions{Unstick: true})
			if again.Status != AlreadyReady || len(again.Quarantined) != 0 {
				t.Errorf("again: %+v", again)
			}
		})
	}
}

// What is refused: exit 4, one line, nothing touched; the server goes on.
func TestStartRefusals(t *testing.T) {
	t.Parallel()
	r := spilling(t, 15)
	r.Server.Start()
	r.Spill("s", 300)
	refused := func(what string, options StartOptions, why string) {
		t.Helper()
		before := dirTree(t, r.Data)
		_, err := r.tryBegin(options)
		if !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", what, err, why)
		}
		if dirTree(t, r.Data) != before {
			t.Errorf("%s: something was touched", what)
		}
	}
	r.Crash()
	r.Multiply("s", 1500)
	const other = "/proc/capstan-quarantine"
	refused("another filesystem", StartOptions{Unstick: true, Where: pgslot.Where{Root: other}}, "another filesystem")
	refused("inside pg_replslot", StartOptions{Unstick: true, Where: pgslot.Where{Root: r.Data + "/pg_replslot/x"}}, "inside pg_replslot")

	// A pid file of a process that is none of ours is not removed, nor started over.
	pid := fmt.Sprintf("%d\n%s\n%d\n5432\n/tmp\n\n1 1\nready   \n", os.Getpid(), r.Data, time.Now().Unix())
	if err := os.WriteFile(r.Data+"/postmaster.pid", []byte(pid), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a foreign pid file", StartOptions{}, "does not work in this directory")
	refused("a foreign pid file", StartOptions{Unstick: true}, "does not work in this directory")
	if _, err := os.Stat(pgslot.DefaultRoot(r.Data)); err == nil {
		t.Error("what was refused has made a quarantine")
	}
	if err := os.Remove(r.Data + "/postmaster.pid"); err != nil {
		t.Fatal(err)
	}
	// EXDEV by flag: within PGDATA, outside pg_replslot.
	summary := r.begin(StartOptions{Unstick: true, Where: pgslot.Where{Inside: true}})
	if len(summary.Quarantined) != 1 || !strings.HasPrefix(summary.Quarantined[0].Path, r.Data+"/capstan_quarantine/") || len(r.SpillFiles("s")) != 0 {
		t.Errorf("%+v", summary)
	}
	if got := r.Text("show recovery_init_sync_method"); got != "syncfs" {
		t.Errorf("recovery_init_sync_method is %s", got)
	}
}

// An immediate stop is for a start that has let nobody in, and for nothing else.
func TestImmediateStopRefusals(t *testing.T) {
	t.Parallel()
	r := spilling(t, 15)
	r.Server.Start()
	running := r.look()
	look := running
	for name, change := range map[string]func(){
		"running":                      func() {},
		"stopping in production":       func() { look.Server.File.Status, look.Control.State = "stopping", 6 },
		"stopping while shutting down": func() { look.Server.File.Status, look.Control.State = "stopping", 3 },
		"no startup process":           func() { look.Server.File.Status, look.Children = "starting", nil },
		"another process":              func() { look.Server.File.Status = "starting"; look.Server.Process.Start++ },
		"gone":                         func() { look.Server.Presence = pg.Dead },
	} {
		look = running
		change()
		if err := mayStopImmediately(&look, running.Server); err == nil {
			t.Errorf("%s: it may be stopped immediately", name)
		}
	}
	look = running
	look.Server.File.Status, look.Children = "starting", []pg.Child{{Role: pg.RoleStartup}, {Role: pg.RoleCheckpointer}}
	if err := mayStopImmediately(&look, running.Server); err != nil {
		t.Error(err)
	}
}

// A start that fails says why, and leaves the slots whole.
func TestStartFails(t *testing.T) {
	t.Parallel()
	r := spilling(t, 16)
	r.Server.Start()
	r.Spill("s", 300)
	r.Crash()
	r.Multiply("s", 1500)
	before := slotState(t, r)
	r.Conf("shared_buffers = nonsense")
	_, err := r.tryBegin(StartOptions{Unstick: true})
	if err == nil || !strings.Contains(err.Error(), "shared_buffers") && !strings.Contains(err.Error(), "configuration file") {
		t.Errorf("%v\n%s", err, r.startLog())
	}
	if got := slotState(t, r); got != before {
		t.Errorf("restart_lsn %s, was %s", got, before)
	}
	r.Conf("shared_buffers = 16MB")
	summary := r.begin(StartOptions{Unstick: true, SyncFS: true})
	if len(summary.Quarantined) != 1 || !summary.Quarantined[0].Verified {
		t.Errorf("%+v", summary)
	}
	// Interrupted, the server goes on; a later call finds it.
	r.Crash()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("enough"))
	defer cancel()
	if _, err := Start(ctx, r.startEnv(), r.cluster, StartOptions{Bin: r.Bin}); err == nil {
		t.Log("it was faster than a millisecond")
	}
	again := r.begin(StartOptions{})
	if again.Status != Ready && again.Status != AlreadyReady {
		t.Errorf("%+v", again)
	}
}

// dirTree lists a directory with sizes and modes; the log of the server is outside.
func dirTree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What a stop has changed is put back by the next start: a role, a subscription.
func TestStartPutsBack(t *testing.T) {
	t.Parallel()
	publisher, subscriber := subscribed(t, 16)
	publisher.Exec("create role sync login")
	consumers := []string{subscriber.URL("postgres")}
	summary := publisher.stop(StopOptions{LockRole: "sync", Consumers: consumers, Walsender: WalsenderTerminate})
	if len(summary.Pending) != 2 {
		t.Fatalf("%+v", summary.Pending)
	}
	// Whom it cannot reach is named and stays; the server is up.
	up, err := publisher.tryBegin(StartOptions{URL: "host=/nonexistent user=postgres"})
	if !errors.Is(err, capstan.ErrIncomplete) || up.Status != Ready || len(up.Pending) == 0 {
		t.Errorf("%+v, %v", up, err)
	}
	again := publisher.begin(StartOptions{Consumers: consumers})
	if again.Status != AlreadyReady || len(again.Pending) != 0 {
		t.Errorf("%+v", again)
	}
	if got := publisher.Text("select rolcanlogin from pg_roles where rolname = 'sync'"); got != "t" {
		t.Errorf("the role may log in: %s", got)
	}
	if got := subscriber.Text("select subenabled from pg_subscription"); got != "t" {
		t.Errorf("the subscription is enabled: %s", got)
	}
	publisher.rows(1001, 2000)
	publisher.arrives(subscriber)
}

// A start under way that replays is told with what is left.
func TestReplayEstimate(t *testing.T) {
	t.Parallel()
	if at, ok := recovering("postgres: startup recovering 0000000100000002000000A0\x00", 16<<20); !ok || at.String() != "2/A0000000" {
		t.Errorf("%s, %t", at, ok)
	}
	for _, title := range []string{"postgres: startup", "postgres: startup recovering xyz", "postgres: startup   waiting for 000000010000000000000001"} {
		if at, ok := recovering(title, 16<<20); ok {
			t.Errorf("%q gave %s", title, at)
		}
	}
	r := spilling(t, 17, "checkpoint_timeout = 1h", "max_wal_size = 10GB")
	r.Server.Start()
	r.Exec("create table big (n int, filler text)", "insert into big select n, repeat('x', 1000) from generate_series(1, 60000) n")
	end := r.Text("select pg_current_wal_lsn() - '0/0'::pg_lsn")
	r.Crash()
	control, err := r.cluster.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := strconv.ParseUint(end, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if got := WALEnd(r.Data, control); uint64(got) < want-(1<<20) || uint64(got) > want+(17<<20) {
		t.Errorf("the WAL ends at %d, found %d; redo at %s", want, uint64(got), control.Redo)
	}
	summary := r.begin(StartOptions{})
	t.Logf("%+v", summary.Phases)
	if r.Text("select count(*) from big") != "60000" {
		t.Error("rows are missing")
	}
}

// A cluster whose configuration is elsewhere, as Debian's, is started with the options
// of the last start that say where; others of that start are not repeated.
func TestStartConfiguredElsewhere(t *testing.T) {
	t.Parallel()
	r := spilling(t, 15)
	elsewhere := filepath.Join(filepath.Dir(r.Data), "etc it's")
	opts := fmt.Sprintf("%s/postgres \"-D\" %q \"-c\" %q \"-c\" %q \"-c\" \"work_mem=123MB\"\n", r.Bin, r.Data,
		"config_file="+elsewhere+"/postgresql.conf", "hba_file="+elsewhere+"/pg_hba.conf")
	for _, err := range []error{
		os.Mkdir(elsewhere, 0o755),
		os.Rename(r.Data+"/postgresql.conf", elsewhere+"/postgresql.conf"),
		os.Rename(r.Data+"/pg_hba.conf", elsewhere+"/pg_hba.conf"),
		os.WriteFile(r.Data+"/postmaster.opts", []byte(opts), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if cred := pgtest.Credential(t); cred != nil {
		if err := os.Chown(r.Data+"/postmaster.opts", int(cred.Uid), int(cred.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	summary := r.begin(StartOptions{Options: []string{"-c", "cluster_name=it's $HOME"}, SyncFS: true})
	if summary.Status != Ready {
		t.Fatalf("%+v", summary)
	}
	for setting, want := range map[string]string{
		"config_file": elsewhere + "/postgresql.conf", "hba_file": elsewhere + "/pg_hba.conf", "work_mem": "4MB",
		"cluster_name":              "it's $HOME",
		"recovery_init_sync_method": "syncfs",
	} {
		if got := r.Text("show " + setting); got != want {
			t.Errorf("%s is %s, want %s", setting, got, want)
		}
	}
}
