package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/pgtest"
)

// slowShop is a server with a database whose restore does not end: building an index
// sleeps in a drill's database.
func slowShop(t *testing.T) *pgtest.Server {
	t.Helper()
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15})
	s.Start()
	s.Exec("create database slow")
	if _, err := s.Conn("slow").PgConn().Exec(t.Context(), `create function slow(n int) returns int language plpgsql immutable as $$ begin
		if current_database() like 'capstan_drill_%' then perform pg_sleep(3600); end if; return n; end $$;
		create table t (n int); insert into t values (1); create index on t (public.slow(n))`).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return s
}

// drillRun is a drill as runs lists it.
type drillRun struct {
	runLine
	Set     string
	Job     string
	Waiting []struct{ Stage, For, Detail, Since string }
}

// runs are all runs, oldest first.
func (f *field) drillRuns() (runs []drillRun) {
	f.t.Helper()
	for line := range strings.Lines(f.run("runs", "--json")) {
		var run drillRun
		if err := json.Unmarshal([]byte(line), &run); err != nil {
			f.t.Fatal(err)
		}
		runs = append(runs, run)
	}
	return runs
}

// A drill is a run: it is listed with what it waits for, watched, cancelled, and its
// outcome can be looked at afterwards. Bringing the dump to the stage is a part of it.
func TestPgDrillIsARun(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s, scratch := slowShop(t), scratchDir(t)
	f.exits(0, []string{"backup", s.URL("slow"), "--to", f.vol, "--pg-dump", pgtest.Client(t, 15, "pg_dump")})
	drill := []string{"pg", "drill", "latest", "--scratch", scratch}
	p := f.start(drill...)
	until(t, "the restore to sleep", func() bool { return sleeps(t, scratch) || !p.running() })
	var run drillRun
	until(t, "the run to say what it waits for", func() bool {
		runs := f.drillRuns()
		run = runs[len(runs)-1]
		return len(run.Waiting) > 0 || !p.running()
	})
	if run.Run != 2 || run.Kind != "drill" || run.Status != "running" || run.PID != p.cmd.Process.Pid || run.Set != f.onlySet().Set || run.Job == "" {
		t.Fatalf("%+v\n%s", run, p.end().err)
	}
	if out := f.run("runs"); !strings.Contains(out, "waiting for server ") || strings.Count(out, "\n") != 3 {
		t.Error(out)
	}
	watching := f.start("watch", "2", "--json")
	watching.says(`"type":"progress","run":2`)
	f.exits(0, []string{"cancel", "2", "--wait"}, "run 2 is cancelled")
	f.check(p.end(), 130, drill, "run 2: cancelled by ", "the dump was not changed, the drill's server is removed; run it again")
	f.check(watching.end(), 130, watching.args, "run 2: cancelled by ")
	f.nothingOf(scratch)
	if out := f.run("show", "latest"); strings.Contains(out, "drill  ") || !strings.Contains(out, "2 drill cancelled") {
		t.Errorf("a drill that was cancelled has found something out: %s", out)
	}

	// What was found out can be looked at later, as it was printed.
	if _, err := s.Conn("slow").Exec(t.Context(), "drop index t_slow_idx"); err != nil {
		t.Fatal(err)
	}
	f.exits(0, []string{"backup", s.URL("slow"), "--to", f.vol, "--pg-dump", pgtest.Client(t, 15, "pg_dump")})
	var printed, kept map[string]any
	object(t, f.exits(0, append(drill, "--json")), &printed)
	object(t, f.exits(0, []string{"watch", "4", "--json"}), &kept)
	if printed["run"] != 4.0 || fmt.Sprint(printed) != fmt.Sprint(kept) {
		t.Errorf("%v\n%v", printed, kept)
	}
	if e := f.exits(0, []string{"watch", "4"}); !strings.Contains(e.out, "slow: proven; database slow") {
		t.Error(e.out)
	}
	// That of a directory is one too, where there is a catalog, and can do without it.
	dir := filepath.Join(f.dir, "dump")
	f.exits(0, []string{"pg", "dump", s.URL("slow"), "-o", dir})
	f.exits(0, []string{"pg", "drill", dir, "--scratch", scratch})
	f.exits(3, []string{"pg", "drill", f.broken(dir), "--scratch", scratch}, "toc.dat")
	runs := f.drillRuns()
	if len(runs) != 6 || runs[4].Kind != "drill" || runs[4].Status != "complete" || runs[5].Status != "partial" {
		t.Errorf("%+v", runs)
	}
	f.exits(3, []string{"watch", "6"}, "it is partial", "toc.dat")
	if err := os.WriteFile(filepath.Join(f.dir, "home", "catalog.db"), []byte("no catalog"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.exits(0, []string{"pg", "drill", dir, "--scratch", scratch}, "goes on without it")
	f.nothingOf(scratch)
}

// broken is a copy of a dump with a damaged table of contents.
func (f *field) broken(dir string) string {
	f.t.Helper()
	other := dir + "-broken"
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		f.t.Fatal(err)
	}
	toc := filepath.Join(other, "toc.dat")
	content, err := os.ReadFile(toc)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(toc, content[:len(content)/2], 0o600); err != nil {
		f.t.Fatal(err)
	}
	return other
}

// nothingOf fails the test if drills have left something: files, notes, processes.
func (f *field) nothingOf(scratch string) {
	f.t.Helper()
	notes, err := os.ReadDir(filepath.Join(f.dir, "home", "scratch"))
	if n := left(f.t, scratch); n != 0 || len(notes) > 0 {
		f.t.Errorf("%d are left in %s, and notes %v, %v", n, scratch, notes, err)
	}
	if spools, err := filepath.Glob(filepath.Join(f.dir, "home", "stage", "spool", "*")); err != nil || len(spools) > 0 {
		f.t.Errorf("spools %q are left, %v", spools, err)
	}
	pgtest.Eventually(f.t, verdict, func() (bool, string) {
		found := processesIn(f.t, scratch)
		return len(found) == 0, fmt.Sprintf("processes are left: %q", found)
	})
}

// A drill that is killed leaves a run that says so. Its server, which somebody keeps
// alive, is ended by whoever marks the run: cancel, or the next drill, wherever that one
// makes its own.
func TestPgDrillKilledIsReconciled(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s, scratch, elsewhere := slowShop(t), scratchDir(t), scratchDir(t)
	f.exits(0, []string{"backup", s.URL("slow"), "--to", f.vol, "--pg-dump", pgtest.Client(t, 15, "pg_dump")})
	killed := func() {
		t.Helper()
		p := f.start("pg", "drill", "latest", "--scratch", scratch)
		until(t, "the restore to sleep", func() bool { return sleeps(t, scratch) || !p.running() })
		sockets, err := filepath.Glob(filepath.Join(scratch, "*", "s"))
		if err != nil || len(sockets) != 1 {
			t.Fatal(sockets, err, p.end().err)
		}
		// A server that is told to stop lets its sessions go on.
		conn, err := pgx.Connect(t.Context(), "host="+sockets[0]+" port=5432 dbname=postgres user=capstan_scratch")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
		p.signal(unix.SIGKILL)
		p.end()
		if err := conn.Ping(t.Context()); err != nil || len(processesIn(t, scratch)) == 0 {
			t.Fatalf("the server does not outlive its drill: %v", err)
		}
	}
	killed()
	if run := f.lastRun(); run.Kind != "drill" || run.Status != "running" || !run.Gone {
		t.Errorf("%+v", run)
	}
	f.exits(0, []string{"cancel", "2"}, "the process of run 2 (process ", ") is gone", "marked as interrupted; run it again", "left behind")
	f.nothingOf(scratch)
	if run := f.lastRun(); run.Status != "interrupted" {
		t.Errorf("%+v", run)
	}

	killed()
	if _, err := s.Conn("slow").Exec(t.Context(), "drop index t_slow_idx"); err != nil {
		t.Fatal(err)
	}
	f.exits(0, []string{"backup", s.URL("slow"), "--to", f.vol, "--pg-dump", pgtest.Client(t, 15, "pg_dump")})
	f.exits(0, []string{"pg", "drill", "latest", "--scratch", elsewhere}, "left behind")
	f.nothingOf(scratch)
	f.nothingOf(elsewhere)
	runs := f.drillRuns()
	if len(runs) != 5 || runs[2].Status != "interrupted" || runs[4].Status != "complete" {
		t.Errorf("%+v", runs)
	}
}
