package pgslot_test

import (
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/disk"
	"capstan/internal/pgdata"
	"capstan/internal/pgslot"
)

// summed sets the checksum of a state file.
func summed(data []byte) []byte {
	copy(data[4:], word(crc32.Checksum(data[8:], crc32.MakeTable(crc32.Castagnoli))))
	return data
}

// Each reason for which a slot must not be quarantined: exit class 4, one line of
// why, and not one file, mode or byte of PGDATA or of the quarantine is another.
func TestQuarantineRefusals(t *testing.T) {
	t.Parallel()
	server, place, busy := crashed(t, 15, 200)
	slot := filepath.Join(server.Data, "pg_replslot", "out")
	state, err := os.ReadFile(filepath.Join(slot, "state"))
	must(t, err)
	root := pgslot.DefaultRoot(server.Data)
	edit := func(change func(data []byte) []byte) func(t *testing.T) {
		return func(t *testing.T) {
			changed := change(append([]byte(nil), state...))
			must(t, os.WriteFile(filepath.Join(slot, "state"), changed, 0o600))
			t.Cleanup(func() { must(t, os.WriteFile(filepath.Join(slot, "state"), state, 0o600)) })
		}
	}
	outside := filepath.Join(filepath.Dir(server.Data), "outside")
	for name, test := range map[string]struct {
		before func(t *testing.T)
		slot   string
		where  pgslot.Where
		why    string
	}{
		"a server lives": {before: func(t *testing.T) {
			*busy = errors.New("a postmaster lives")
			t.Cleanup(func() { *busy = nil })
		}, why: "a postmaster lives"},
		"no slot name":       {slot: "../base", why: "not the name of a slot"},
		"no magic":           {before: edit(func(d []byte) []byte { d[0]++; return d }), why: "magic"},
		"bad checksum":       {before: edit(func(d []byte) []byte { d[100]++; return d }), why: "checksum"},
		"unknown version":    {before: edit(func(d []byte) []byte { d[8] = 77; return summed(d) }), why: "version 77"},
		"of another version": {before: edit(func(d []byte) []byte { d[8] = 3; return summed(d) }), why: "servers of version 15 read version 2"},
		"another's name":     {before: edit(func(d []byte) []byte { d[16] = 'O'; d[16] = 'a'; return summed(d) }), why: "state file is that of slot aut"},
		"no state": {before: func(t *testing.T) {
			must(t, os.Rename(slot+"/state", slot+"/gone"))
			t.Cleanup(func() { must(t, os.Rename(slot+"/gone", slot+"/state")) })
		}, why: "no such file"},
		"inside pg_replslot":               {where: pgslot.Where{Root: server.Data + "/pg_replslot/q"}, why: "inside pg_replslot"},
		"inside pg_replslot with the flag": {where: pgslot.Where{Root: server.Data + "/pg_replslot/q", Inside: true}, why: "inside pg_replslot"},
		"inside pg_replslot by a link": {before: func(t *testing.T) {
			must(t, os.Symlink(server.Data+"/pg_replslot", outside))
			t.Cleanup(func() { must(t, os.Remove(outside)) })
		}, where: pgslot.Where{Root: outside + "/q"}, why: "inside pg_replslot"},
		"inside PGDATA":      {where: pgslot.Where{Root: server.Data + "/q"}, why: "inside PGDATA"},
		"another filesystem": {where: pgslot.Where{Root: "/proc/capstan-quarantine"}, why: "another filesystem"},
		"relative":           {where: pgslot.Where{Root: "q"}, why: "not an absolute path"},
		"a file is there": {before: func(t *testing.T) {
			must(t, os.WriteFile(outside, nil, 0o600))
			t.Cleanup(func() { must(t, os.Remove(outside)) })
		}, where: pgslot.Where{Root: outside}, why: "no directory"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.before != nil {
				test.before(t)
			}
			if test.slot == "" {
				test.slot = "out"
			}
			before := tree(t, server.Data, root)
			_, err := place.Quarantine(t.Context(), test.slot, test.where)
			if !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), test.why) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v; want a refusal with %q", err, test.why)
			}
			if tree(t, server.Data, root) != before {
				t.Error("something was touched")
			}
		})
	}
	if _, err := place.Quarantine(t.Context(), "none", pgslot.Where{}); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a slot that is not there: %v", err)
	}
}

// What fails while the quarantine is being made is taken back: owner and mode that
// cannot be set, a taken name, a full disk, a filesystem without the exchange.
func TestQuarantineFaults(t *testing.T) {
	t.Parallel()
	server, place, _ := crashed(t, 17, 200)
	root := pgslot.DefaultRoot(server.Data)
	must(t, os.Mkdir(root, 0o700))
	if cred := pgtest.Credential(t); cred != nil {
		must(t, os.Chown(root, int(cred.Uid), int(cred.Gid)))
	}
	before := tree(t, server.Data, root)
	for name, fault := range map[string]func(op disk.Op, path string) error{
		"owner of the state": func(op disk.Op, path string) error {
			return when(op == disk.OpSetOwner && filepath.Base(path) == "state", unix.EPERM)
		},
		"owner of the directory": func(op disk.Op, path string) error {
			return when(op == disk.OpSetOwner && strings.HasSuffix(path, "-out"), unix.EPERM)
		},
		"taken name": func(op disk.Op, path string) error { return when(op == disk.OpMkdir, unix.EEXIST) },
		"full disk": func(op disk.Op, path string) error {
			return when(op == disk.OpWrite && filepath.Base(path) == "state", unix.ENOSPC)
		},
		"full disk at the record": func(op disk.Op, path string) error {
			return when(op == disk.OpWrite && strings.Contains(path, ".json"), unix.ENOSPC)
		},
		"no exchange":         func(op disk.Op, path string) error { return when(op == disk.OpExchange, disk.ErrNoExchange) },
		"broken medium":       func(op disk.Op, path string) error { return when(op == disk.OpSync, unix.EIO) },
		"another filesystem?": func(op disk.Op, path string) error { return when(op == disk.OpExchange, unix.EXDEV) },
	} {
		faulty := *place
		faulty.FS.Faults = disk.FaultFunc(func(op disk.Op, path string, _ int) error { return fault(op, path) })
		if _, err := faulty.Quarantine(t.Context(), "out", pgslot.Where{}); !errors.Is(err, capstan.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		if after := tree(t, server.Data, root); after != before {
			t.Errorf("%s: something was left or touched", name)
		}
	}
	// A server that appears in the last moment.
	asked := 0
	late := *place
	late.Idle = func() error { asked++; return when(asked == 2, errors.New("a postmaster has come up")) }
	if _, err := late.Quarantine(t.Context(), "out", pgslot.Where{}); !errors.Is(err, capstan.ErrRefused) || asked != 2 {
		t.Errorf("%v, asked %d times", err, asked)
	}
	if tree(t, server.Data, root) != before {
		t.Error("a late server: something was left or touched")
	}
	late.Idle = nil
	if _, err := late.Quarantine(t.Context(), "out", pgslot.Where{}); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("without proof: %v", err)
	}
}

func when(condition bool, err error) error {
	if condition {
		return err
	}
	return nil
}

// Killed before any step of a quarantine, the slot is whole at every moment, and the
// next call ends it or takes it back.
func TestQuarantineKilled(t *testing.T) {
	t.Parallel()
	server, place, _ := crashed(t, 18, 200)
	root := pgslot.DefaultRoot(server.Data)
	files := len(server.SpillFiles("out"))
	want := stateOf(t, server.Data+"/pg_replslot/out/state")
	killed := errors.New("killed")
	moved, back := 0, 0
	for step := 1; ; step++ {
		n := 0
		dying := *place
		dying.FS.Faults = disk.FaultFunc(func(disk.Op, string, int) error {
			if n++; n >= step { // nothing is done any more after a kill, no clean-up either
				return killed
			}
			return nil
		})
		_, err := dying.Quarantine(t.Context(), "out", pgslot.Where{})
		if got := stateOf(t, server.Data+"/pg_replslot/out/state"); got != want {
			t.Fatalf("step %d: the slot is %+v, want %+v", step, got, want)
		}
		if err == nil {
			t.Logf("%d steps; %d kills were taken back, %d were ended", step-1, back, moved)
			break
		}
		if !errors.Is(err, killed) {
			t.Fatalf("step %d: %v", step, err)
		}
		records, err := place.Settle(t.Context(), root)
		must(t, err)
		switch left := len(server.SpillFiles("out")); {
		case left == files && len(records) == 0:
			back++
			if entries, _ := os.ReadDir(root); len(entries) != 0 {
				t.Errorf("step %d: %v is left", step, entries)
			}
		case left == 0 && len(records) == 1 && records[0].Step == pgslot.StepMoved:
			moved++
			if err := place.Started(t.Context(), &records[0]); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			// The spill files go back, for the next round.
			must(t, os.RemoveAll(server.Data+"/pg_replslot/out"))
			must(t, os.Rename(records[0].Path(), server.Data+"/pg_replslot/out"))
			must(t, os.RemoveAll(root))
		default:
			t.Fatalf("step %d: %d of %d files in the slot, %+v", step, left, files, records)
		}
		if step > 500 {
			t.Fatal("it never ends")
		}
	}
	if moved == 0 || back == 0 {
		t.Errorf("%d kills were taken back, %d were ended", back, moved)
	}
	server.Start()
	if got := server.Text("select restart_lsn from pg_replication_slots where slot_name = 'out'"); got != want.RestartLSN.String() {
		t.Errorf("restart_lsn is %s, want %s", got, want.RestartLSN)
	}
}

// Each reason for which a purge is refused.
func TestPurgeRefusals(t *testing.T) {
	t.Parallel()
	server, place, _ := crashed(t, 16, 200)
	record, err := place.Quarantine(t.Context(), "out", pgslot.Where{})
	must(t, err)
	refused := func(what, why string) {
		t.Helper()
		before := tree(t, server.Data, pgslot.DefaultRoot(server.Data))
		_, err := place.Purge(t.Context(), &record, pgslot.PurgeOptions{})
		if !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", what, err)
		}
		if tree(t, server.Data, pgslot.DefaultRoot(server.Data)) != before {
			t.Errorf("%s: something was touched", what)
		}
	}
	refused("before a start", "has not come up")
	must(t, place.Started(t.Context(), &record))

	path := record.Path()
	must(t, os.Rename(path, path+"x"))
	must(t, os.Mkdir(path, 0o700))
	must(t, os.WriteFile(path+"/"+pgdata.SpillName{XID: 1}.String(), nil, 0o600))
	refused("another directory", "not the directory that was moved")
	must(t, os.RemoveAll(path))
	must(t, os.Symlink(server.Data+"/pg_replslot/standby", path))
	refused("a link", "not the directory that was moved")
	must(t, os.Remove(path))
	must(t, os.Rename(path+"x", path))

	// Whatever is no spill file stays, and is named.
	for _, name := range []string{"xid-1-lsn-0-0.spill.bak", "notes.txt", "xid-01-lsn-0-0.spill"} {
		must(t, os.WriteFile(filepath.Join(path, name), nil, 0o600))
	}
	dry, err := place.Purge(t.Context(), &record, pgslot.PurgeOptions{DryRun: true})
	must(t, err)
	done, err := place.Purge(t.Context(), &record, pgslot.PurgeOptions{Rate: 2000})
	if err != nil || done.Files == 0 || dry.Files != done.Files || done.Others != 4 || len(done.Named) != 3 || record.Step != pgslot.StepPurged {
		t.Errorf("%+v, then %+v, %v", dry, done, err)
	}
	if entries, err := os.ReadDir(path); err != nil || len(entries) != 4 {
		t.Errorf("%v, %v", entries, err)
	}
	// The slot is worse than it was: the record does not become "started".
	must(t, os.Rename(server.Data+"/pg_replslot/out", server.Data+"/pg_replslot/out.bak"))
	if err := place.Verify(t.Context(), &record); !errors.Is(err, capstan.ErrIncomplete) {
		t.Errorf("a slot that is gone: %v", err)
	}
}

// A second call does not work on the same quarantine.
func TestLock(t *testing.T) {
	t.Parallel()
	_, place, _ := crashed(t, 15, 200)
	release, err := place.Lock(pgslot.Where{})
	must(t, err)
	if _, err := place.Lock(pgslot.Where{}); !errors.Is(err, capstan.ErrLocked) {
		t.Errorf("%v", err)
	}
	must(t, release())
	release, err = place.Lock(pgslot.Where{})
	must(t, err)
	must(t, release())
}
