package cli_test

import (
	"path/filepath"
	"testing"

	"capstan/internal/capstantest"
)

// TestFullVolume fills the disk under the volume: the backup fails, says what is
// safe, and goes on from there once there is room.
func TestFullVolume(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ small, large string }{
		"bytes":      {"size=6m", "size=64m"},
		"file names": {"size=64m,nr_inodes=9", "size=64m,nr_inodes=1000"},
		"at once":    {"size=1m", "size=64m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			garden(t, f.data, 1)
			mountTmpfs(t, f.vol, test.small)
			backup := []string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB"}
			f.exits(1, backup, f.vol, "finished files", "make room", "again")
			first := f.onlySet()
			f.stopped(first, false)
			if sealed := len(first.Archives); (sealed == 0) != (name == "at once") || sealed > 8 {
				t.Errorf("%d archives before the disk was full", sealed)
			}
			f.exits(1, backup, f.vol, "make room", "again") // still no room: nothing is lost by trying
			before := archives(t, f.vol, first.Set)

			remount(t, f.vol, test.large)
			after := summaryOf(t, f.exits(0, append(backup, "--json")))
			if after.Set != first.Set || !after.Resumed {
				t.Errorf("resumed %v as %s, want %s", after.Resumed, after.Set, first.Set)
			}
			now := archives(t, f.vol, first.Set)
			for archive, file := range before {
				if now[archive] != file {
					t.Errorf("%s was written again: %+v, now %+v", archive, file, now[archive])
				}
			}
			f.whole(first.Set)
		})
	}
}

// TestFullHome fills the disk under the catalog.
func TestFullHome(t *testing.T) {
	t.Parallel()
	f := newField(t)
	mountTmpfs(t, f.dir, "size=256m") // for thousands of files; nothing here is about the source's disk
	home := filepath.Join(f.dir, "home")
	mountTmpfs(t, home, "size=600k")
	plant(t, f.data, 2, 4000, 50) // rows enough that the catalog, not an archive, is what fills
	plant(t, filepath.Join(f.data, "zz"), 3, 100, 40<<10)
	backup := []string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB"}
	f.exits(1, backup, filepath.Join(home, "catalog"), "make room")

	remount(t, home, "size=64m")
	sets := f.sets()
	if len(sets) != 1 || sets[0].Status == "complete" || sets[0].Status == "partial" {
		t.Fatalf("sets: %+v", sets)
	}
	f.truthful(f.show(sets[0].Set))
	before := f.show(sets[0].Set).Archives
	if len(before) == 0 {
		t.Error("no archive was sealed before the disk was full: this shows nothing")
	}
	files := archives(t, f.vol, sets[0].Set)
	after := summaryOf(t, f.exits(0, append(backup, "--json")))
	if after.Set != sets[0].Set || !after.Resumed {
		t.Errorf("resumed %v as %s, want %s", after.Resumed, after.Set, sets[0].Set)
	}
	now := archives(t, f.vol, after.Set)
	for _, archive := range before {
		if now[archive.Name] != files[archive.Name] {
			t.Errorf("%s was written again", archive.Name)
		}
	}
	f.whole(after.Set)
}

// TestFullTarget fills the disk under a restore: what is there under its name is
// whole, and --overwrite completes it.
func TestFullTarget(t *testing.T) {
	t.Parallel()
	f := newField(t)
	garden(t, f.data, 4)
	plant(t, filepath.Join(f.data, "zzz more"), 5, 100, 40<<10)
	f.run("backup", f.data, "--to", f.vol)
	target := filepath.Join(f.dir, "target")
	mountTmpfs(t, target, "size=7m")
	f.exits(1, []string{"restore", "latest", "--to", target}, "no space", "is whole", "--overwrite")
	if n := wholeFiles(t, f.data, filepath.Join(target, "data")); n == 0 {
		t.Error("nothing was restored")
	}
	remount(t, target, "size=64m")
	f.run("restore", "latest", "--to", target, "--overwrite")
	capstantest.CompareTrees(t, f.data, filepath.Join(target, "data"))
}
