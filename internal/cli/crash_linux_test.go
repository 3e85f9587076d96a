package cli_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// crash is a place where backups meet trouble: home, stage and volumes are filesystems
// that hold or fail single operations.
type crash struct {
	*field
	mounts  map[string]*slowfs.Mount // by name: home, one, two, stage
	volumes []string
	args    []string       // of the backup
	full    *slowfs.Active // keeps a disk full
	undo    func()         // puts back what was taken away
}

// newCrash makes a place for backups onto one volume directly, or onto two by a stage.
func newCrash(t *testing.T, staged bool) *crash {
	t.Helper()
	c := placeFor(t, staged)
	garden(t, c.data, 31)
	return c
}

// newSmall is newCrash with a tree that is small: two archives on each volume.
func newSmall(t *testing.T, staged bool) *crash {
	t.Helper()
	c := placeFor(t, staged)
	write(t, filepath.Join(c.data, "a", "large"), noise(1, 1<<20+1000))
	write(t, filepath.Join(c.data, "a", "small"), noise(2, 100))
	write(t, filepath.Join(c.data, "b", "later"), noise(3, 70<<10))
	if err := errors.Join(os.Symlink("a/small", filepath.Join(c.data, "link")), os.Mkdir(filepath.Join(c.data, "empty"), 0o750),
		os.Link(filepath.Join(c.data, "a", "small"), filepath.Join(c.data, "b", "hard"))); err != nil {
		t.Fatal(err)
	}
	return c
}

// placeFor is newCrash without a tree.
func placeFor(t *testing.T, staged bool) *crash {
	t.Helper()
	c := &crash{field: newField(t), mounts: map[string]*slowfs.Mount{}}
	names := []string{"home", "one"}
	if staged {
		names = append(names, "two", "stage")
	}
	for _, name := range names {
		c.mounts[name] = c.slowly(filepath.Join(c.dir, name))
	}
	c.vol = filepath.Join(c.dir, "one")
	c.volumes = []string{c.vol}
	c.args = []string{"backup", c.data, "--to", c.vol, "--archive-size", "1MiB", "--json"}
	if staged {
		c.volumes = append(c.volumes, filepath.Join(c.dir, "two"))
		c.args = append(c.args, "--to", c.volumes[1], "--stage", filepath.Join(c.dir, "stage"))
	}
	return c
}

// kill runs the backup, and kills it at an operation.
func (c *crash) kill(at string, rule slowfs.Rule) {
	c.t.Helper()
	if killed, e := c.killedAt(c.mounts[at], rule, (*exec.Cmd).Start, c.args...); !killed {
		c.t.Errorf("the backup did not come to %+v: exit %d\n%s", rule, e.code, e.err)
	}
}

// ends expects that a backup ends well.
func (c *crash) ends(p *program) summary {
	c.t.Helper()
	e := p.end()
	lines := slices.Collect(strings.Lines(e.out))
	if e.code != 0 && len(lines) > 0 {
		c.t.Fatalf("exit %d:\n%s%s", e.code, lines[len(lines)-1], e.err)
	}
	return summaryOf(c.t, e)
}

// complete runs the backup to its end and expects that all is where it belongs,
// once, and nothing else is anywhere.
func (c *crash) complete(more ...string) {
	c.t.Helper()
	last := c.ends(c.start(append(slices.Clone(c.args), more...)...))
	if last.Status != "complete" {
		c.t.Errorf("set %s is %s", last.Set, last.Status)
	}
	c.run("catalog", "check")
	if e := c.try("verify", "--read-data"); e.code != 0 {
		c.t.Errorf("verify: exit %d\n%s%s", e.code, e.out, e.err)
	}
	c.once(last.Set)
	back := filepath.Join(c.dir, "back")
	c.run("restore", last.Set, "--to", back)
	capstantest.CompareTrees(c.t, c.data, filepath.Join(back, "data"))
	capstantest.RemoveAll(c.t, back)
	c.nothingElse()
}

// nothingElse expects that volumes, stage and home hold what the catalog knows, and
// no more, but for a marker or a key that was being made when the kill came: it stays
// beside the one that was made then.
func (c *crash) nothingElse() {
	c.t.Helper()
	want := []string{"capstan-volume.json"}
	for _, listed := range c.sets() {
		set := c.show(listed.Set)
		want = append(want, set.Set)
		for _, name := range []string{".capstan-owner.json", "RESTORE.txt", "SHA256SUMS", "SHA256SUMS.sig", "catalog.sqlite", "manifest.json.zst"} {
			want = append(want, set.Set+"/"+name)
		}
		for _, a := range set.Archives {
			want = append(want, set.Set+"/"+a.Name)
			good := 0
			for _, copied := range a.Copies {
				if copied.State == "written" || copied.State == "verified" {
					good++
				}
			}
			if good != len(c.volumes) || len(a.Copies) != good {
				c.t.Errorf("copies of %s: %+v", a.Name, a.Copies)
			}
		}
	}
	slices.Sort(want)
	for _, volume := range c.volumes {
		found := slices.DeleteFunc(everything(c.t, volume), func(path string) bool {
			return filepath.Base(path) == "DELETED" || strings.HasPrefix(path, ".capstan-volume.json.")
		})
		for _, path := range found {
			if !slices.Contains(want, path) {
				c.t.Errorf("on %s and unknown: %s", volume, path)
			}
		}
		for _, path := range want {
			if !slices.Contains(found, path) {
				c.t.Errorf("not on %s: %s", volume, path)
			}
		}
	}
	if stage := c.mounts["stage"]; stage != nil {
		for _, path := range everything(c.t, stage.Dir) {
			if !slices.Contains([]string{"capstan-stage.json", "final", "temp", "ledger", "ledger/lock"}, path) && !strings.HasPrefix(path, ".capstan-stage.json.") {
				c.t.Errorf("left in the stage: %s", path)
			}
		}
	}
	for _, path := range everything(c.t, c.mounts["home"].Dir) {
		if !strings.HasPrefix(path, "catalog.db") && path != "locks" && filepath.Dir(path) != "locks" && path != "signing-key.pem" &&
			path != "log" && filepath.Dir(path) != "log" && !strings.HasPrefix(path, ".signing-key.pem.") {
			c.t.Errorf("left in the home: %s", path)
		}
	}
}

const (
	archive = "backup_*.zst"
	part    = "backup_*.part"
)
