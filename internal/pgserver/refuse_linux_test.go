package pgserver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/disk"
)

// A setting is not changed when the journal cannot take it: neither archive_command
// nor a role nor a subscription. Afterwards the same stop goes on.
func TestNoChangeWithoutJournal(t *testing.T) {
	t.Parallel()
	conf, _ := archiving(t, "2")
	p := newPair(t, 15, conf...)
	full := p.env()
	full.FS = disk.FS{Faults: disk.FaultFunc(func(op disk.Op, path string, _ int) error {
		if op == disk.OpWrite && strings.HasPrefix(path, p.home) {
			return syscall.ENOSPC
		}
		return nil
	})}
	for _, options := range []StopOptions{{LockRole: "sync"}, {Consumers: []string{p.subscriber.URL("postgres")}}} {
		summary, err := Stop(t.Context(), full, p.cluster, options)
		if !errors.Is(err, capstan.ErrNoSpace) || summary.Status != NotBegun {
			t.Errorf("%v, %+v", err, summary)
		}
	}
	if p.Text("select rolcanlogin from pg_roles where rolname = 'sync'") != "t" || p.subscriber.Text("select subenabled from pg_subscription") != "t" {
		t.Error("a setting was changed without a record")
	}
	p.backlog(3)
	before, err := p.cluster.ReadFile(autoConf, autoConfLimit)
	if err != nil {
		t.Fatal(err)
	}
	summary, err := Stop(t.Context(), full, p.cluster, StopOptions{Archiver: ArchiverPause, Walsender: WalsenderTerminate})
	after, readErr := p.cluster.ReadFile(autoConf, autoConfLimit)
	if !errors.Is(err, capstan.ErrNoSpace) || string(after) != string(before) || readErr != nil || summary.Status != Stopping {
		t.Errorf("%v, %q, %v, %+v", err, after, readErr, summary)
	}
	p.stop(StopOptions{Archiver: ArchiverPause, Walsender: WalsenderTerminate})
}

// A disk that fills up while archive_command is being changed leaves the old file.
func TestArchiveCommandOnFullDisk(t *testing.T) {
	t.Parallel()
	conf, _ := archiving(t, "0.3")
	r := newRig(t, 18, conf...)
	r.Start()
	r.backlog(3)
	for _, op := range []disk.Op{disk.OpCreate, disk.OpWrite, disk.OpOwn, disk.OpSync, disk.OpRename} {
		env := r.env()
		env.FS = disk.FS{Faults: disk.FaultFunc(func(now disk.Op, path string, _ int) error {
			if now == op && strings.HasPrefix(filepath.Base(path), autoConf) {
				return syscall.ENOSPC
			}
			return nil
		})}
		if err := rewriteAutoConf(env.FS, r.cluster, func(string) string { return noArchive }); !errors.Is(err, capstan.ErrNoSpace) {
			t.Errorf("%s: %v", op, err)
		}
		if found := names(t, filepath.Join(r.Data, autoConf+"*")); len(found) != 1 {
			t.Errorf("%s: %v", op, found)
		}
		if text, err := r.cluster.ReadFile(autoConf, autoConfLimit); err != nil || string(text) == noArchive {
			t.Errorf("%s: %q, %v", op, text, err)
		}
	}
	r.stop(StopOptions{Archiver: ArchiverPause})
	info, err := os.Stat(filepath.Join(r.Data, autoConf))
	if err != nil || info.Mode().Perm() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != r.cluster.Owner.UID {
		t.Errorf("%+v, %v: the server cannot read it", info, err)
	}
}

// Where an option of the command line sets archive_command, pausing cannot work:
// it is said, nothing stays changed, and the archiver finishes instead.
func TestPauseWithoutEffect(t *testing.T) {
	t.Parallel()
	conf, dir := archiving(t, "2")
	r := newRig(t, 17, conf[0])
	r.Options = []string{"-c", conf[1][:len("archive_command")] + "=sleep 2; cp %p " + dir + "/%f"}
	r.Start()
	r.backlog(4)
	summary := r.stop(StopOptions{Archiver: ArchiverPause})
	if actions := strings.Join(summary.Actions, "\n"); !strings.Contains(actions, "SIGTERM to archiver") || strings.Contains(actions, "emptied") || len(r.warns) != 1 {
		t.Errorf("%q, %q", summary.Actions, r.warns)
	}
	if text, err := r.cluster.ReadFile(autoConf, autoConfLimit); err != nil || strings.Contains(string(text), "archive_command") {
		t.Errorf("%q, %v", text, err)
	}
}

// With an archive_library there is no command: pause and abort-command end the
// archiver itself.
func TestArchiveLibrary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o711), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, 16, "archive_mode = on", "archive_library = 'basic_archive'", "basic_archive.archive_directory = '"+dir+"'")
	r.Start()
	r.backlog(2)
	if summary := r.stop(StopOptions{Archiver: ArchiverPause}); summary.State != "shut down" {
		t.Errorf("%+v", summary)
	}
}

// A server that is starting is not stopped but told of; a cluster in single user
// mode neither.
func TestStartingIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, 15)
	r.Start()
	startup := "starting"
	content, err := os.ReadFile(filepath.Join(r.Data, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(string) string{
		func(text string) string { return strings.Replace(text, "ready   ", startup, 1) },
		func(text string) string { return "-" + text },
	} {
		if err := os.WriteFile(filepath.Join(r.Data, "postmaster.pid"), []byte(change(string(content))), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, dry := range []bool{true, false} {
			if summary, err := Stop(t.Context(), r.env(), r.cluster, StopOptions{DryRun: dry}); !errors.Is(err, capstan.ErrRefused) || len(summary.Actions) > 0 {
				t.Errorf("%v, %+v", err, summary)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(r.Data, "postmaster.pid"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if r.Text("select 1") != "1" || len(r.audit) > 0 {
		t.Errorf("it was touched: %q", r.audit)
	}
}

// A walsender's socket that is shut down ends a stop by itself, on a socket of the
// system and over TCP.
func TestCut(t *testing.T) {
	t.Parallel()
	for _, tcp := range []bool{false, true} {
		r := newRigWith(t, pgtest.Options{Major: 18, TCP: tcp}, "wal_sender_timeout = 0")
		r.Start()
		r.logical("lag")
		r.fill()
		r.Signal(syscall.SIGINT)
		walsender := r.verdict(PhaseWalsender).Blockers[0]
		began := time.Now()
		sockets, err := r.cluster.Cut(walsender.Process, nil)
		if err != nil || sockets != 1 {
			t.Fatalf("%d sockets, %v", sockets, err)
		}
		r.WaitExit()
		t.Logf("the server had stopped %s after the cut", time.Since(began))
		if look := r.look(); !look.Control.State.Clean() {
			t.Errorf("%s", look.Control.State)
		}
	}
}
