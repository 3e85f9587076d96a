package pgdrill_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	exe "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/disk"
	"capstan/internal/pgscratch"
	"capstan/internal/progress"
)

// sweeper is what directories are swept with.
func (f *field) sweeper() pgscratch.Env {
	stage := progress.New(nil).Stage("server")
	stage.Begin()
	return pgscratch.Env{Disk: disk.FS{}, Stage: stage, Say: f.say, Warn: f.say}
}

// marked makes a directory as a drill would have left it, with a marker of that owner.
func (f *field) marked(name, owner string) (dir string) {
	f.t.Helper()
	dir = filepath.Join(f.scratch, "capstan-scratch-"+name)
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o711); err != nil {
		f.t.Fatal(err)
	}
	f.mark(dir, owner)
	return dir
}

func (f *field) mark(dir, owner string) {
	f.t.Helper()
	marker := fmt.Sprintf(`{"owner": %s, "bin": %q}`, owner, pgtest.Bin(f.t, f.Major))
	if err := os.WriteFile(filepath.Join(dir, "capstan-scratch.json"), []byte(marker), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// gone is this process as it would be written down had it ended, and another begun with
// its number.
func gone(t *testing.T) string {
	t.Helper()
	return strings.Replace(here(t), `"Started":"`, `"Started":"1`, 1)
}

func there(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// What a killed drill has left is removed, wherever a note says that it lies; what
// belongs to a drill that is at work, or to another machine, is not.
func TestSweep(t *testing.T) {
	t.Parallel()
	f := newField(t, 15)
	stays := []string{f.marked("alive", here(t)), f.marked("foreign", `{"Machine": "another", "Boot": "x", "Space": "x", "PID": 1}`)}
	goes := []string{f.marked("dead", gone(t)), filepath.Join(f.scratch, "capstan-scratch-empty"), filepath.Join(f.scratch, "capstan-scratch-torn")}
	for _, dir := range goes[1:] { // whose maker came no farther
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(goes[2], "capstan-scratch.json"), []byte(`{"own`), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, dir := range goes[1:] {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	young := filepath.Join(f.scratch, "capstan-scratch-young")
	if err := os.Mkdir(young, 0o700); err != nil {
		t.Fatal(err)
	}
	stays = append(stays, young)
	pgscratch.Sweep(t.Context(), f.sweeper(), f.scratch)

	elsewhere := f.marked("noted", gone(t))
	notes := t.TempDir()
	for name, root := range map[string]string{
		filepath.Base(elsewhere): elsewhere, filepath.Base(stays[0]): stays[0], "capstan-scratch-vanished": filepath.Join(f.scratch, "capstan-scratch-vanished"),
		"no-note": f.dir,
	} {
		if err := os.WriteFile(filepath.Join(notes, name), []byte(root), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pgscratch.SweepNoted(t.Context(), f.sweeper(), notes)
	for _, path := range append(goes, elsewhere, filepath.Join(notes, filepath.Base(elsewhere)), filepath.Join(notes, "capstan-scratch-vanished")) {
		if there(t, path) {
			t.Errorf("%s is left\n%s", path, f.heard())
		}
	}
	for _, path := range append(stays, filepath.Join(notes, filepath.Base(stays[0])), filepath.Join(notes, "no-note")) {
		if !there(t, path) {
			t.Errorf("%s is gone\n%s", path, f.heard())
		}
	}
}

// A server that outlived its drill is ended; so is the child of one that was killed,
// which still works in its directory. The process that has the number of a dead server by
// now is not touched, though it is the same user's.
func TestSweepEndsServers(t *testing.T) {
	t.Parallel()
	f := newField(t, 17)
	start := func(notes string) (*pgscratch.Server, string) {
		t.Helper()
		server, err := pgscratch.Start(t.Context(), f.sweeper(), pgscratch.Options{Major: 17, Bin: pgtest.Bin(t, 17), Dir: f.scratch, Settings: []string{"shared_buffers=16MB"}, Notes: notes})
		if err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(f.scratch, "*"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		return server, found[0]
	}
	notes := t.TempDir()
	server, dir := start(notes)
	f.mark(dir, gone(t))
	pgscratch.SweepNoted(t.Context(), f.sweeper(), notes)
	f.ended(server)
	if there(t, filepath.Join(notes, filepath.Base(dir))) {
		t.Error("its note is left")
	}

	// Its first process is killed while a child is stopped in the middle of its work, so
	// that it cannot notice.
	server, dir = start("")
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var child int
	if err := conn.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&child); err != nil {
		t.Fatal(err)
	}
	pids := serversIn(t, f.scratch)
	if len(pids) != 1 {
		t.Fatal(pids)
	}
	signal(t, child, syscall.SIGSTOP)
	signal(t, pids[0], syscall.SIGKILL)
	<-server.Done()
	f.mark(dir, gone(t))
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		pgscratch.Sweep(context.WithoutCancel(t.Context()), f.sweeper(), f.scratch)
	}()
	pgtest.Eventually(t, short, func() (bool, string) { return pending(t, child, syscall.SIGQUIT), "the child is not told to end" })
	signal(t, child, syscall.SIGCONT)
	<-swept
	f.ended(server)

	// A number that another process of the same user has.
	dir = f.marked("reused", gone(t))
	other := exe.CommandContext(t.Context(), "sleep", "600")
	other.SysProcAttr, other.Dir = &syscall.SysProcAttr{Credential: pgtest.Credential(t)}, "/"
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	}()
	for name, content := range map[string]string{
		"PG_VERSION":     "17\n",
		"postmaster.pid": fmt.Sprintf("%d\n%s\n%d\n5432\n%s\n\n\n", other.Process.Pid, filepath.Join(dir, "data"), time.Now().Unix(), filepath.Join(dir, "s")),
	} {
		if err := os.WriteFile(filepath.Join(dir, "data", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pgscratch.Sweep(t.Context(), f.sweeper(), f.scratch)
	if there(t, dir) {
		t.Errorf("%s is left\n%s", dir, f.heard())
	}
	if state := stateOf(t, other.Process.Pid); state != 'S' {
		t.Errorf("a foreign process was touched: it is in state %c", state)
	}
	f.clean()
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// ended fails the test if a server, or its directory, is there still.
func (f *field) ended(server *pgscratch.Server) {
	f.t.Helper()
	select {
	case <-server.Done():
	case <-time.After(short):
		f.t.Errorf("the server runs\n%s", f.heard())
	}
	f.clean()
	if err := server.Stop(f.t.Context()); err != nil { // by its own process, too late
		f.t.Error(err)
	}
}

// pending reports whether a signal waits for a process that is stopped.
func pending(t *testing.T, pid int, s syscall.Signal) bool {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if text, ok := strings.CutPrefix(line, "ShdPnd:"); ok {
			var set uint64
			if _, err := fmt.Sscanf(strings.TrimSpace(text), "%x", &set); err != nil {
				t.Fatal(err)
			}
			return set&(1<<(s-1)) != 0
		}
	}
	return false
}

// stateOf is the state of a process, as proc(5) has it; '-' where there is none.
func stateOf(t *testing.T, pid int) byte {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return '-'
	}
	_, after, _ := strings.Cut(string(content), ") ")
	return after[0]
}
