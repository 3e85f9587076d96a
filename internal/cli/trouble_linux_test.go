package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/slowfs"
)

// trouble is a cause for which an archive does not come from temp to its volume,
// and the line that names it. Both stand in the operating guide, where … is for
// what differs from case to case.
type trouble struct {
	line     string
	cause    func(c *crash) (flags []string) // produces it for the backup that follows
	code     int                             // of that backup
	mend     func(c *crash)                  // what the guide says to do; nil: nothing
	hopeless bool                            // the archive cannot come to the volume any more
}

// troubles are the predecessor's table of what to look for, cause by cause.
var troubles = map[string]trouble{
	// Not in final.
	"slow sealing": {
		line: "stalled: stage commit has been waiting for volume (…) for … at backup_…",
		cause: func(c *crash) []string {
			slow := c.mounts["stage"].Add(slowfs.Rule{Op: slowfs.Sync, Name: "backup_*", After: 2, Times: 1, Hold: true})
			return append(c.whenSaid(slow, "stalled: stage commit has been waiting for volume"), "--stall-warn", "1s")
		},
	},
	"failing disk of the stage": {
		line: "error: archive backup_…: seal …: rename …: input/output error", code: 1,
		cause: func(c *crash) []string {
			c.mounts["stage"].Add(slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 2, Times: 1, Errno: unix.EIO})
			return nil
		},
	},
	"two filesystems": {
		line: "error: open stage …: temp and final are on different filesystems or mounts", code: 4,
		cause: func(c *crash) []string {
			c.run(c.args...)
			final := filepath.Join(c.dir, "stage", "final")
			mountTmpfs(c.t, final, "")
			return nil
		},
		mend: func(c *crash) {
			if err := unix.Unmount(filepath.Join(c.dir, "stage", "final"), 0); err != nil {
				c.t.Error(err)
			}
		},
	},
	"full stage": {
		line: "stalled: stage write has been waiting for space (…) for …",
		cause: func(c *crash) []string {
			full := c.mounts["stage"].Add(slowfs.Rule{Op: slowfs.Write, Name: "backup_*", After: 5, Errno: unix.ENOSPC})
			return append(c.whenSaid(full, "stalled: stage write"), "--stall-warn", "1s")
		},
	},
	"killed while packing": {
		line: "stage: … unfinished files of runs that were killed removed",
		cause: func(c *crash) []string {
			c.kill("stage", slowfs.Rule{Op: slowfs.Write, Name: "backup_*", After: 9})
			return nil
		},
	},
	// Not in the queue.
	"killed before it was queued": {
		line: "stage: backup_… of set … was not in the catalog, …: removed",
		cause: func(c *crash) []string {
			c.kill("stage", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 3, Late: true})
			return nil
		},
	},
	"full disk of the catalog": {
		line: "error: …: database or disk is full", code: 1,
		cause: func(c *crash) []string {
			c.run("sets") // makes the home
			c.full = c.mounts["home"].Add(slowfs.Rule{Op: slowfs.Write, Name: "catalog.db-wal", After: 20, Errno: unix.ENOSPC})
			return nil
		},
		mend: func(c *crash) { c.relent() },
	},
	"slow disk of the catalog": {
		line: "stalled: stage records has been waiting for catalog for …",
		cause: func(c *crash) []string {
			slow := c.mounts["home"].Add(slowfs.Rule{Op: slowfs.Sync, Name: "catalog.db-wal", After: 20, Times: 1, Hold: true})
			return append(c.whenSaid(slow, "stalled: stage records has been waiting for catalog"), "--stall-warn", "1s")
		},
	},
	// Not on the volume.
	"volume not mounted": {
		line: "warning: volume … is given up for this run: …: it has no capstan-volume.json; is it mounted?", code: 3,
		cause: func(c *crash) []string {
			c.run(c.args...)
			c.undo = damage(c.t, c.volumes[1]+" below/capstan-volume.json", func([]byte) []byte { return nil })
			return []string{"--attempts", "1"}
		},
		mend: func(c *crash) { c.undo() },
	},
	"one error of a volume": {
		line: "warning: backup_… on …: attempt 1 of 5 failed, the next is in …: write …: input/output error",
		cause: func(c *crash) []string {
			c.mounts["two"].Add(slowfs.Rule{Op: slowfs.Write, Name: part, After: 5, Times: 1, Errno: unix.EIO})
			return nil
		},
	},
	"full volume": {
		line: "warning: backup_… on …: given up after … attempts: not enough space: …", code: 3,
		cause: func(c *crash) []string {
			c.full = c.mounts["two"].Add(slowfs.Rule{Op: slowfs.Write, Name: part, After: 5, Errno: unix.ENOSPC})
			return []string{"--attempts", "2"}
		},
		mend: func(c *crash) { c.relent() },
	},
	"volume that hangs": {
		line: "warning: cut off: stage copy to … has been waiting for volume (…) for … at backup_…; the stacks are in …",
		cause: func(c *crash) []string {
			hang := c.mounts["two"].Add(slowfs.Rule{Op: slowfs.Write, Name: part, After: 5, Hold: true})
			return append(c.whenSaid(hang, "cut off: stage copy to"), "--stall-warn", "1s", "--stall-fail", "8s") // a slow machine is slower than 2 s
		},
	},
	"damage in the stage": {
		line: "warning: backup_… on …: given up after … attempts: damaged: backup_… in the stage is not what was packed", code: 3,
		cause: func(c *crash) []string {
			c.meddle(func(staged string) error { return os.WriteFile(staged, []byte("something else"), 0o600) })
			return []string{"--attempts", "2"}
		},
		hopeless: true,
	},
	"staged file removed": {
		line: "warning: backup_… on …: given up after … attempts: backup_… is neither in the stage nor whole on another volume", code: 3,
		cause: func(c *crash) []string {
			c.meddle(os.Remove)
			return []string{"--attempts", "2"}
		},
		hopeless: true,
	},
}

// relent ends what keeps a disk full.
func (c *crash) relent() {
	if c.full != nil {
		c.full.End()
	}
}

// whenSaid ends a rule when the program has said something, however long that takes it,
// and gives the flags that it needs.
func (c *crash) whenSaid(rule *slowfs.Active, words string) (flags []string) {
	path := filepath.Join(c.dir, "said")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		poll := time.NewTicker(20 * time.Millisecond)
		defer poll.Stop()
		for {
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), words) { // else it has said nothing yet
				rule.End()
				return
			}
			select {
			case <-poll.C:
			case <-c.t.Context().Done():
				return
			}
		}
	}()
	c.t.Cleanup(func() { <-ended })
	return []string{"--log-file", path}
}

// meddle does something to the third archive in the stage while no volume can get it.
func (c *crash) meddle(do func(path string) error) {
	var holds []*slowfs.Active
	for _, at := range []string{"one", "two"} {
		holds = append(holds, c.mounts[at].Add(slowfs.Rule{Op: slowfs.Create, Name: part, After: 1, Hold: true}))
	}
	below := filepath.Join(c.dir, "stage below")
	// Before the fourth is begun, the third may still be on its way to being sealed.
	later := filepath.Join(below, "*", "*", "*backup_*_0004.*")
	pattern := filepath.Join(below, "final", "*", "backup_*_0003.*")
	meddled := make(chan error, 1)
	go func() {
		defer func() {
			for _, hold := range holds {
				hold.End()
			}
		}()
		for _, hold := range holds {
			<-hold.Hits()
		}
		deadline := time.NewTimer(verdict)
		defer deadline.Stop()
		poll := time.NewTicker(10 * time.Millisecond)
		defer poll.Stop()
		for {
			begun, err := filepath.Glob(later)
			found, globErr := filepath.Glob(pattern)
			if err = errors.Join(err, globErr); err != nil || len(begun) == 1 && len(found) == 1 {
				if err == nil {
					err = do(found[0])
				}
				meddled <- err
				return
			}
			select {
			case <-poll.C:
			case <-deadline.C:
				meddled <- os.ErrDeadlineExceeded
				return
			}
		}
	}()
	c.t.Cleanup(func() {
		if err := <-meddled; err != nil {
			c.t.Error(err)
		}
	})
}

// pattern is a line of the guide as a regular expression.
func pattern(line string) *regexp.Regexp {
	parts := strings.Split(line, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?m)^.*" + strings.Join(parts, ".*"))
}

// TestTroubles produces every cause, and expects the one line that names it, as
// the operating guide has it. When the cause is gone, the same backup or what the
// line names completes the set.
func TestTroubles(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(string(guide), "`"+trouble.line+"`") {
				t.Errorf("the operating guide does not have the line `%s`", trouble.line)
			}
			c := newCrash(t, true)
			flags := trouble.cause(c)
			e := c.try(append(slices.Clone(c.args), flags...)...)
			if e.code != trouble.code || !pattern(trouble.line).MatchString(e.err) {
				t.Fatalf("exit %d, want %d, and a line as: %s\n%s", e.code, trouble.code, trouble.line, e.err)
			}
			if trouble.mend != nil {
				trouble.mend(c)
			}
			if next := regexp.MustCompile(`capstan retry (\d+)\n`).FindStringSubmatch(e.err); next != nil {
				if trouble.hopeless {
					c.exits(3, []string{"retry", next[1], "--attempts", "1"})
					return
				}
				c.run("retry", next[1])
			}
			c.complete()
		})
	}
}
