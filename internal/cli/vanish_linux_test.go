package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// freeze stops a backup once it has sealed some archives of its set, and gives
// the set's name. The set is not finished then, since its source hangs.
func freeze(t *testing.T, p *program, volume string) (set string) {
	t.Helper()
	until(t, "sealed archives", func() bool {
		sealed, err := filepath.Glob(filepath.Join(volume, "20*", "backup_*_0006.tar.*[a-z]"))
		if err != nil {
			t.Fatal(err)
		}
		sealed = slices.DeleteFunc(sealed, func(path string) bool { return filepath.Ext(path) == ".part" })
		if len(sealed) == 1 {
			set = filepath.Base(filepath.Dir(sealed[0]))
		}
		return set != "" || !p.running()
	})
	p.signal(unix.SIGSTOP)
	until(t, "the program to stop", func() bool { return !p.running() || p.only("TDZX") }) // who waits for the source may not stop
	if !p.running() {
		t.Fatal(p.end().err)
	}
	return set
}

// TestVanishedVolume takes the volume away in the middle of a backup: nothing is
// written to what is there instead, nothing is claimed, and once the volume is
// back the next call completes the set.
func TestVanishedVolume(t *testing.T) {
	t.Parallel()
	rename := func(from, to string) error { return os.Rename(from, to) }
	bind := func(store, volume string) error { return unix.Mount(store, volume, "", unix.MS_BIND, "") }
	for name, test := range map[string]struct {
		prepare func(t *testing.T, volume, store string) error // before the first run; store is a place aside
		vanish  func(volume, store string) error
		back    func(volume, store string) error
	}{
		"renamed": {vanish: rename, back: func(volume, store string) error { return os.Rename(store, volume) }},
		"replaced by an empty directory": {
			vanish: func(volume, store string) error {
				if err := os.Rename(volume, store); err != nil {
					return err
				}
				return os.Mkdir(volume, 0o755)
			},
			back: func(volume, store string) error {
				if err := os.Remove(volume); err != nil { // it is still empty
					return err
				}
				return os.Rename(store, volume)
			},
		},
		"unmounted": {
			prepare: func(t *testing.T, volume, store string) error {
				t.Cleanup(func() { _ = unix.Unmount(volume, unix.MNT_DETACH) })
				for _, dir := range []string{volume, store} {
					if err := os.Mkdir(dir, 0o755); err != nil {
						return err
					}
				}
				return bind(store, volume)
			},
			vanish: func(volume, _ string) error { return unix.Unmount(volume, unix.MNT_DETACH) },
			back:   func(volume, store string) error { return bind(store, volume) },
		},
		"covered by another volume": {
			prepare: func(t *testing.T, volume, store string) error {
				t.Cleanup(func() { _ = unix.Unmount(volume, unix.MNT_DETACH) })
				other := &field{t: t, dir: t.TempDir(), vol: store}
				write(t, filepath.Join(other.dir, "data", "x"), []byte("x"))
				other.run("backup", "data", "--to", store)
				return os.Mkdir(volume, 0o755)
			},
			vanish: func(volume, store string) error { return bind(store, volume) },
			back:   func(volume, _ string) error { return unix.Unmount(volume, 0) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			store := filepath.Join(f.dir, "store")
			garden(t, f.data, 10)
			write(t, filepath.Join(f.data, "zzy"), noise(11, 4<<20))
			huge := (&hugeFile{size: 12 << 20, stall: 4 << 20}).mount(t, filepath.Join(f.data, "zzz"))
			if test.prepare != nil {
				if err := test.prepare(t, f.vol, store); err != nil {
					t.Fatal(err)
				}
			}
			backup := []string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB"}
			p := f.start(backup...)
			set := freeze(t, p, f.vol)
			if err := test.vanish(f.vol, store); err != nil {
				t.Fatal(err)
			}
			instead := contentsOf(t, f.vol)
			huge.goOn()
			p.signal(unix.SIGCONT)
			f.check(p.end(), 4, backup, f.vol, "mount")
			if now := contentsOf(t, f.vol); !slices.Equal(now, instead) {
				t.Errorf("what is there instead of the volume became %q", now)
			}
			if status := f.show(set).Status; status != "interrupted" {
				t.Errorf("set %s is %s, want interrupted", set, status)
			}
			f.run("catalog", "check")

			// As long as it is away, every call is refused.
			f.exits(4, backup, f.vol)
			if now := contentsOf(t, f.vol); !slices.Equal(now, instead) {
				t.Errorf("what is there instead of the volume became %q", now)
			}
			f.exits(3, []string{"verify", set})
			f.exits(3, []string{"restore", set, "--to", filepath.Join(f.dir, "nothing")})

			if err := test.back(f.vol, store); err != nil {
				t.Fatal(err)
			}
			f.truthful(f.show(set))
			after := summaryOf(t, f.exits(0, append(backup, "--json")))
			if after.Set != set || !after.Resumed {
				t.Errorf("resumed %v as %s, want %s", after.Resumed, after.Set, set)
			}
			f.whole(set)
		})
	}
}

// contentsOf lists what lies in a directory; a directory that is not there holds
// nothing, but is told from an empty one.
func contentsOf(t *testing.T, dir string) []string {
	t.Helper()
	if _, err := os.Lstat(dir); err != nil {
		return []string{"(nothing is there)"}
	}
	return everything(t, dir)
}

// TestWrongVolume calls for a backup to a known volume that is not the one that
// was there.
func TestWrongVolume(t *testing.T) {
	t.Parallel()
	f := newField(t)
	write(t, filepath.Join(f.data, "x"), []byte("x"))
	f.run("backup", f.data, "--to", f.vol)
	aside := f.vol + " aside"
	if err := os.Rename(f.vol, aside); err != nil {
		t.Fatal(err)
	}
	backup := []string{"backup", f.data, "--to", f.vol}
	f.exits(4, backup, f.vol, "mount")
	if _, err := os.Lstat(f.vol); err == nil {
		t.Error("the volume's directory was made anew")
	}
	if err := os.Mkdir(f.vol, 0o755); err != nil {
		t.Fatal(err)
	}
	f.exits(4, backup, f.vol, "mount")
	if found := everything(t, f.vol); len(found) > 0 {
		t.Errorf("written to the empty directory: %q", found)
	}
	// A second volume of the same catalog, put where the first one was.
	f.run("backup", f.data, "--to", f.vol+" two")
	if err := os.Remove(f.vol); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.vol+" two", f.vol); err != nil {
		t.Fatal(err)
	}
	before := everything(t, f.vol)
	f.exits(4, backup, f.vol)
	if now := everything(t, f.vol); !slices.Equal(now, before) {
		t.Errorf("%q became %q", before, now)
	}
	if n := len(f.sets()); n != 2 {
		t.Errorf("%d sets, want 2", n)
	}
}
