package cli_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// kills is how many kills at random moments TestKilledAnywhere plays for each way
// of writing, beside those at the named points.
var kills = flag.Int("kills", 4, "kills at random moments, for each way of writing")

// crash is a place where backups are killed at single operations: home, stage and
// volumes are filesystems that hold an operation until the process is dead. Then the
// operation fails, so that it has never been done, or was done before (Late).
type crash struct {
	*field
	mounts  map[string]*slowfs.Mount // by name: home, one, two, stage
	volumes []string
	args    []string       // of the backup
	killed  int            // calls
	full    *slowfs.Active // keeps a disk full
}

// newCrash makes a place for backups onto one volume directly, or onto two by a stage.
func newCrash(t *testing.T, staged bool) *crash {
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
	garden(t, c.data, 31)
	return c
}

// point is an operation at which a backup is killed.
type point struct {
	at   string // a mount
	rule slowfs.Rule
}

func (p point) String() string {
	when := "before"
	if p.rule.Late {
		when = "after"
	}
	return fmt.Sprintf("%s %s of %s no. %d in %s", when, p.rule.Op, p.rule.Name, p.rule.After+1, p.at)
}

// kill runs the backup, and kills it at the point, where it comes there.
func (c *crash) kill(p point, more ...string) {
	c.t.Helper()
	p.rule.Hold = true
	if !p.rule.Late {
		p.rule.Errno = unix.EIO // for a process that is dead
	}
	hold := c.mounts[p.at].Add(p.rule)
	defer hold.End()
	program := c.start(append(slices.Clone(c.args), more...)...)
	if _, ok := program.hits(hold); !ok {
		c.ends(program)
		return
	}
	program.signal(unix.SIGKILL)
	until(c.t, "the threads that wait for nothing to be dead", func() bool { return !program.running() || program.doomed() })
	hold.End()
	if e := program.end(); e.code != -1 {
		c.t.Errorf("exit %d of a process that was killed:\n%s%s", e.code, e.out, e.err)
	}
	c.killed++
	c.honest()
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

// doomed reports whether nothing of a killed process runs but what waits
// uninterruptibly.
func (p *program) doomed() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, thread := range threads {
		stat, _ := os.ReadFile(thread) // it may have ended
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && rest[0] != 'D' && rest[0] != 'Z' && rest[0] != 'X' {
			return false
		}
	}
	return true
}

// honest expects that the catalog is sound after a kill, and that what it calls
// complete is so.
func (c *crash) honest() {
	c.t.Helper()
	if e := c.try("catalog", "check"); e.code != 0 {
		c.t.Errorf("catalog check: exit %d\n%s%s", e.code, e.out, e.err)
	}
	for _, set := range c.sets() {
		if set.Status == "complete" {
			c.exits(0, []string{"verify", set.Set, "--read-data"})
		}
	}
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

// namedPoints are those where a kill is most likely to lose something.
func namedPoints(staged bool) map[string]point {
	if !staged {
		return map[string]point{
			"claiming the set":         {"one", slowfs.Rule{Op: slowfs.Rename, Name: "20??-*"}},
			"set claimed":              {"one", slowfs.Rule{Op: slowfs.Rename, Name: "20??-*", Late: true}},
			"packing":                  {"one", slowfs.Rule{Op: slowfs.Write, Name: part, After: 9}},
			"sealing":                  {"one", slowfs.Rule{Op: slowfs.Sync, Name: part, After: 3}},
			"renaming":                 {"one", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 3}},
			"renamed":                  {"one", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 3, Late: true}},
			"last renamed":             {"one", slowfs.Rule{Op: slowfs.Rename, Name: "*_0008.*", Late: true}},
			"syncing the directory":    {"one", slowfs.Rule{Op: slowfs.SyncDir, Name: "20*", After: 5}},
			"committing":               {"home", slowfs.Rule{Op: slowfs.Sync, Name: "catalog.db-wal", After: 14}},
			"committed":                {"home", slowfs.Rule{Op: slowfs.Sync, Name: "catalog.db-wal", After: 15, Late: true}},
			"copying the catalog":      {"home", slowfs.Rule{Op: slowfs.Write, Name: "catalog.sqlite.part", After: 3}},
			"writing the manifest":     {"one", slowfs.Rule{Op: slowfs.Sync, Name: "manifest*"}},
			"sums renamed":             {"one", slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS", Late: true}},
			"signature renamed":        {"one", slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS.sig", Late: true}},
			"making the volume's mark": {"one", slowfs.Rule{Op: slowfs.Rename, Name: "capstan-volume.json"}},
		}
	}
	return map[string]point{
		"packing":                   {"stage", slowfs.Rule{Op: slowfs.Write, Name: "backup_*", After: 9}},
		"sealing":                   {"stage", slowfs.Rule{Op: slowfs.Sync, Name: "backup_*", After: 3}},
		"renaming":                  {"stage", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 3}},
		"renamed":                   {"stage", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 3, Late: true}},
		"queueing":                  {"home", slowfs.Rule{Op: slowfs.Sync, Name: "catalog.db-wal", After: 18}},
		"writing a copy":            {"one", slowfs.Rule{Op: slowfs.Write, Name: part, After: 9}},
		"copy renamed":              {"two", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 2, Late: true}},
		"copy renamed, the last":    {"two", slowfs.Rule{Op: slowfs.Rename, Name: "*_0008.*", Late: true}},
		"deleting from the stage":   {"stage", slowfs.Rule{Op: slowfs.Unlink, Name: archive, After: 2}},
		"deleted from the stage":    {"stage", slowfs.Rule{Op: slowfs.Unlink, Name: archive, After: 3, Late: true}},
		"sums of one volume":        {"one", slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS", Late: true}},
		"leaving the stage":         {"stage", slowfs.Rule{Op: slowfs.Rmdir, Late: true}},
		"making the stage's mark":   {"stage", slowfs.Rule{Op: slowfs.Rename, Name: "capstan-stage.json"}},
		"second volume's signature": {"two", slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS.sig", Late: true}},
	}
}

// ways are the ways of writing.
var ways = map[string]bool{"one volume": false, "stage and two volumes": true}

// TestKilledAtPoint kills a backup at each of the named points; the next call
// completes the set, nothing is there twice, and nothing is left over.
func TestKilledAtPoint(t *testing.T) {
	t.Parallel()
	for way, staged := range ways {
		for name, p := range namedPoints(staged) {
			t.Run(way+"/"+name, func(t *testing.T) {
				t.Parallel()
				c := newCrash(t, staged)
				if c.kill(p); c.killed == 0 {
					t.Errorf("the backup did not come to the point: %s", p)
				}
				c.complete()
			})
		}
	}
}

// TestKilledAnywhere kills backups at random operations, also the resuming and the
// incremental ones.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	for way, staged := range ways {
		for n := range *kills {
			t.Run(fmt.Sprintf("%s/%d", way, n), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(uint64(n), 77))
				if n >= 1000 {
					random = rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 77))
				}
				c := newCrash(t, staged)
				points := c.dry()
				var mode []string
				for round := range 2 {
					for range 1 + random.IntN(2) {
						p := points[random.IntN(len(points))]
						t.Logf("round %d: %s", round, p)
						c.kill(p, mode...)
					}
					if c.complete(mode...); t.Failed() {
						return
					}
					write(t, filepath.Join(c.data, "large"), noise(uint64(n), 2<<20))
					write(t, filepath.Join(c.data, "new", "file"), noise(uint64(n)+1, 1<<20))
					if err := os.RemoveAll(filepath.Join(c.data, "mid")); err != nil {
						t.Fatal(err)
					}
					mode = []string{"--incremental"}
				}
			})
		}
	}
}

// dry counts the operations of a whole backup elsewhere, and makes a point of each.
func (c *crash) dry() (points []point) {
	c.t.Helper()
	other := newCrash(c.t, len(c.volumes) > 1)
	other.run(other.args...)
	for _, at := range []string{"home", "one", "two", "stage"} {
		m := other.mounts[at]
		if m == nil {
			continue
		}
		counts := m.Counts()
		for _, op := range []slowfs.Op{
			slowfs.Create, slowfs.Write, slowfs.Sync, slowfs.SyncDir, slowfs.Close, slowfs.Rename, slowfs.Unlink, slowfs.Mkdir, slowfs.Rmdir,
		} {
			for i := range min(counts[op], 60) { // else nearly all would be writes of the catalog
				after := i * counts[op] / min(counts[op], 60)
				for _, late := range []bool{false, true} {
					points = append(points, point{at, slowfs.Rule{Op: op, After: after, Late: late}})
				}
			}
		}
	}
	return points
}
