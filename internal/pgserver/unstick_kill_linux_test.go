package pgserver

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/disk"
	"capstan/internal/pg"
	"capstan/internal/pgslot"
)

// Variables that make TestKilledChild the program that is killed.
const (
	killData = "CAPSTAN_TEST_KILL_DATA"
	killHome = "CAPSTAN_TEST_KILL_HOME"
	killBin  = "CAPSTAN_TEST_KILL_BIN"
	killAt   = "CAPSTAN_TEST_KILL_AT"
)

// TestKilledChild does nothing by itself: TestUnstickKilled starts it as a process of
// its own, which kills itself (SIGKILL) before the step that it is told.
func TestKilledChild(t *testing.T) {
	data := os.Getenv(killData)
	if data == "" {
		return
	}
	at, err := strconv.Atoi(os.Getenv(killAt))
	if err != nil {
		t.Fatal(err)
	}
	step := 0
	count := func(what string) {
		if step++; step == at {
			_, _ = os.Stdout.WriteString("killed before " + what + "\n")
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	fsys := disk.FS{Faults: disk.FaultFunc(func(op disk.Op, path string, _ int) error {
		switch op {
		case disk.OpRead, disk.OpStat, disk.OpList, disk.OpOpen, disk.OpClose, disk.OpFree:
		default:
			count(string(op) + " " + filepath.Base(path))
		}
		return nil
	})}
	cluster, err := pg.Open(fsys, data)
	if err != nil {
		t.Fatal(err)
	}
	env := Env{
		FS: fsys, Home: os.Getenv(killHome), Step: count,
		Audit: func(_ context.Context, _, _, detail string) error { count("audit " + detail); return nil },
	}
	if _, err := Start(t.Context(), env, cluster, StartOptions{Unstick: true, Bin: os.Getenv(killBin)}); err != nil {
		t.Fatal(err)
	}
}

// Killed (SIGKILL) at every step of an unstick, the slot is whole, and a second call
// finishes or undoes: the server is up, the slot is there once where it was, and the
// settings that a stop had changed are put back.
func TestUnstickKilled(t *testing.T) {
	t.Parallel()
	const shares = 4 // they wait for servers most of the time
	for first := 1; first <= shares; first++ {
		t.Run(strconv.Itoa(first), func(t *testing.T) {
			t.Parallel()
			unstickKilled(t, first, shares)
		})
	}
}

// unstickKilled kills at every so many steps.
func unstickKilled(t *testing.T, first, every int) {
	const setting = "archive_command = '/bin/true'"
	r := newRig(t, 17, append(pgtest.SpillConf(), "archive_mode = on")...)
	r.Server.Start()
	r.Exec("alter system set archive_command = '/bin/true'")
	r.Spill("s", 300)
	r.Crash()
	r.Multiply("s", 1200)
	files, want := len(r.SpillFiles("s")), slotState(t, r)
	root := pgslot.DefaultRoot(r.Data)
	for step := first; ; step += every {
		pauseArchive(t, r)
		killed, said := killedChild(t, r, step)
		if got := slotState(t, r); got != want {
			t.Fatalf("step %d (%s): the slot is at %s, was at %s", step, said, got, want)
		}
		summary := r.begin(StartOptions{Unstick: true})
		if summary.Status != Ready && summary.Status != AlreadyReady {
			t.Fatalf("step %d (%s): %+v", step, said, summary)
		}
		if got := r.Text("select count(*) || ' ' || min(restart_lsn) from pg_replication_slots"); got != "1 "+want {
			t.Errorf("step %d (%s): slots %s, want 1 %s", step, said, got, want)
		}
		conf, err := os.ReadFile(filepath.Join(r.Data, autoConf))
		if err != nil || !strings.Contains(string(conf), setting) || len(summary.Pending) != 0 || r.Text("show archive_command") != "/bin/true" {
			t.Errorf("step %d (%s): %q, pending %+v, %v", step, said, conf, summary.Pending, err)
		}
		back(t, r, root, files)
		if !killed {
			t.Logf("fewer than %d steps", step)
			break
		}
		if step > 200 {
			t.Fatal("it never ends")
		}
	}
}

// pauseArchive leaves what a stop leaves that was killed while it paused the archiver.
func pauseArchive(t *testing.T, r *rig) {
	t.Helper()
	env := r.startEnv()
	journal, err := openJournal(t.Context(), env, r.cluster)
	if err != nil {
		t.Fatal(err)
	}
	var line string
	var changed string
	data, err := os.ReadFile(filepath.Join(r.Data, autoConf))
	if err == nil {
		changed, line = emptied(string(data))
		err = journal.record(Change{Kind: ChangeArchive, Object: "archive_command", Time: time.Now(), Line: line})
	}
	if err == nil {
		err = rewriteAutoConf(env.FS, r.cluster, func(string) string { return changed })
	}
	if err = errors.Join(err, journal.close()); err != nil {
		t.Fatal(err)
	}
}

// killedChild runs an unstick that is killed before a step; killed is false if it has
// fewer steps and came to its end.
func killedChild(t *testing.T, r *rig, step int) (killed bool, said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledChild$", "-test.v")
	cmd.Env = append(os.Environ(), killData+"="+r.Data, killHome+"="+r.home, killBin+"="+r.Bin, killAt+"="+strconv.Itoa(step))
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == -1 {
		_, said, _ = strings.Cut(strings.TrimSpace(string(out)), "killed before ")
		return true, said
	}
	if err != nil {
		t.Fatalf("step %d: %v\n%s", step, err, out)
	}
	return false, "not killed"
}

// back crashes the server and gives the slot its spill files back.
func back(t *testing.T, r *rig, root string, files int) {
	t.Helper()
	r.Crash()
	moved, err := filepath.Glob(filepath.Join(root, "*", "xid-*"))
	if err != nil || len(moved) != files {
		t.Fatalf("%d of %d spill files are in the quarantine, %v", len(moved), files, err)
	}
	for _, path := range moved {
		if err := os.Rename(path, filepath.Join(r.Data, "pg_replslot", "s", filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
}
