package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// lastLine reads the last line of a program's output, which is an object.
func lastLine(t *testing.T, e ended, into any) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(e.out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), into); err != nil {
		t.Fatalf("%v in %q", err, e.out)
	}
}

// spillReport reads the report of one slot.
func spillReport(t *testing.T, e ended) (r struct {
	Slot     string
	Files    int
	Storm    *struct{ Segment string }
	Top      []struct{ XID uint32 }
	Advice   []string
	Counters *struct{ Files int } `json:"statistics"`
},
) {
	t.Helper()
	lastLine(t, e, &r)
	return r
}

// Spill files as somebody deals with them on the command line: report and map beside
// the server, a crash, a dry run, refusals, a start with --unstick, the slot-doctor,
// the purge, and the audit log of it all.
func TestPgSpillAsTyped(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 16, Conf: pgtest.SpillConf()})
	s.Start()
	s.Exec("create table spilled (n int, filler text)")
	files := s.Spill("out", 2500)
	report := spillReport(t, f.exits(0, []string{"pg", "spill", "report", "-D", s.Data, "--json", "--interval", "100ms"}))
	if report.Slot != "out" || report.Files < len(files) || report.Storm == nil || len(report.Top) != 5 || report.Counters == nil ||
		!strings.Contains(strings.Join(report.Advice, " "), "now 64kB") {
		t.Errorf("%+v", report)
	}
	if e := f.exits(0, []string{"pg", "spill", "report", "-D", s.Data, "--interval", "0"}); !strings.Contains(e.out, "storm: ") || !strings.Contains(e.out, "savepoint") {
		t.Errorf("%s", e.out)
	}
	f.exits(10, []string{"pg", "spill", "report", "-D", s.Data, "--slot", "none"}, "no such directory")
	xid := strings.Split(files[len(files)/2], "-")[1]
	var origin struct {
		Segment, Proof string
		Kept           bool
		Relations      []struct{ Name string }
	}
	lastLine(t, f.exits(0, []string{"pg", "spill", "map", "-D", s.Data, xid, "--json"}), &origin)
	// The table was made by a transaction that is visible: the name is known.
	if !origin.Kept || len(origin.Relations) != 1 || origin.Relations[0].Name != "spilled" || !strings.Contains(origin.Proof, "pg_waldump") {
		t.Errorf("%+v", origin)
	}
	f.exits(10, []string{"pg", "spill", "map", "-D", s.Data, "1"}, "no slot has a spill file")
	f.exits(2, []string{"pg", "spill", "map", "-D", s.Data, "state"}, "not the name of a spill file")
	if _, err := os.Stat(filepath.Join(f.dir, "home", "catalog.db")); err == nil {
		t.Error("a command that only looks has made a catalog")
	}
	refuses := func(words string, args ...string) {
		t.Helper()
		if e := f.exits(4, args, words); strings.Count(strings.TrimSpace(e.err), "\n") != 0 {
			t.Errorf("more than a line: %s", e.err)
		}
	}

	s.Crash()
	file := filepath.Join(s.Data, "pg_replslot", "out", files[0])
	if e := f.exits(0, []string{"pg", "spill", "map", "-D", s.Data, file}); !strings.Contains(e.out, "tablespace 1663, database 5, file ") {
		t.Errorf("%s", e.out)
	}
	start := []string{"pg", "start", "-D", s.Data, "--unstick", "--bindir", s.Bin}
	e := f.exits(0, append(start, "--dry-run"))
	if !strings.Contains(e.out, "would be started") || !strings.Contains(e.out, "move the spill files of slot out") || len(s.SpillFiles("out")) < len(files) {
		t.Errorf("%s", e.out)
	}
	refuses("inside pg_replslot", append(start, "--quarantine", filepath.Join(s.Data, "pg_replslot", "q"))...)
	refuses("inside PGDATA", append(start, "--quarantine", filepath.Join(s.Data, "q"))...)
	f.exits(2, append(start, "--set", "port"), "NAME=VALUE")

	var summary struct {
		Status      string
		PID         int
		Quarantined []struct {
			Slot, Path, Step string
			Verified         bool
		}
	}
	lastLine(t, f.exits(0, append(start, "--json")), &summary)
	if summary.Status != "ready" || len(summary.Quarantined) != 1 || summary.Quarantined[0].Step != "started" || !summary.Quarantined[0].Verified {
		t.Fatalf("%+v", summary)
	}
	f.exits(0, []string{"pg", "slot-doctor", "-D", s.Data}, "all slots are whole")
	if e := f.exits(0, start); !strings.Contains(e.out, "already running") {
		t.Errorf("%s", e.out)
	}
	purge := []string{"pg", "spill", "purge", "-D", s.Data}
	if e := f.exits(0, append(purge, "--dry-run")); !strings.Contains(e.out, "would be removed") {
		t.Errorf("%s", e.out)
	}
	var purged struct{ Files int }
	lastLine(t, f.exits(0, append(purge, "--json")), &purged)
	if left, _ := os.ReadDir(summary.Quarantined[0].Path); purged.Files < len(files) || len(left) != 1 {
		t.Errorf("%d files purged, %d are left", purged.Files, len(left))
	}
	audit := f.exits(0, []string{"catalog", "export"}).out
	for _, words := range []string{"pg start", "slot out: its spill files are in ", "pg spill purge"} {
		if !strings.Contains(audit, words) {
			t.Errorf("no %q in the audit log: %s", words, audit)
		}
	}
	doctorAsTyped(t, f, s, refuses)
}

// doctorAsTyped makes a ghost as a talk once taught, and has it repaired.
func doctorAsTyped(t *testing.T, f *field, s *pgtest.Server, refuses func(words string, args ...string)) {
	t.Helper()
	slots := filepath.Join(s.Data, "pg_replslot")
	out, err := exec.CommandContext(t.Context(), "cp", "-a", slots+"/out", slots+"/out.bak").CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	doctor := []string{"pg", "slot-doctor", "-D", s.Data}
	if e := f.exits(3, doctor); !strings.Contains(e.out, "ghost: "+slots+"/out.bak") {
		t.Errorf("%s", e.out)
	}
	refuses("the server runs", append(doctor, "--repair")...)
	s.Crash()
	if e := f.exits(3, append(doctor, "--repair", "--dry-run")); !strings.Contains(e.out, "would: move the directory out") {
		t.Errorf("%s", e.out)
	}
	if e := f.exits(0, append(doctor, "--repair")); !strings.Contains(e.out, "repaired: ghost") {
		t.Errorf("%s", e.out)
	}
	f.exits(0, doctor, "all slots are whole")
	if err := os.Mkdir(slots+"/empty", 0o700); err != nil {
		t.Fatal(err)
	}
	f.exits(3, append(doctor, "--repair"), "1 finding left; what each of them needs is said with it") // not: do it again
	if err := os.Remove(slots + "/empty"); err != nil {
		t.Fatal(err)
	}
	f.exits(0, []string{"pg", "start", "-D", s.Data, "--bindir", s.Bin})
	if n := s.Text("select count(*) from pg_replication_slots"); n != "1" {
		t.Errorf("%s slots, want 1", n)
	}
}

// A purge before the server has come up is refused; so is one by somebody else.
func TestPgSpillPurgeRefused(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 15, Conf: pgtest.SpillConf()})
	s.Start()
	s.Spill("out", 2500)
	s.Crash()
	s.Conf("shared_buffers = nonsense")
	start := []string{"pg", "start", "-D", s.Data, "--unstick", "--bindir", s.Bin}
	f.exits(1, start, "shared_buffers")
	f.exits(4, []string{"pg", "spill", "purge", "-D", s.Data}, "the server has not come up since")
	if found, err := filepath.Glob(s.Data + ".capstan-quarantine/*/xid-*"); err != nil || len(found) == 0 {
		t.Errorf("%v, %v", found, err)
	}
	s.Conf("shared_buffers = 16MB")
	f.exits(0, start)
	if e := f.exits(0, []string{"pg", "spill", "purge", "-D", s.Data, "--rate", "0"}); !strings.Contains(e.out, "removed") {
		t.Errorf("%s", e.out)
	}
	if fmt.Sprint(s.SpillFiles("out")) != "[]" {
		t.Error("the slot has spill files")
	}
}
