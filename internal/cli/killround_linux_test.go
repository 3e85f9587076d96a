package cli_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan"
	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// round makes ready for a command, kills it at the spot, runs it again, and looks at
// everything. It is false if the program ended before it came to the spot.
func (l *killLane) round(point string, s spot) (killed bool) {
	l.t.Helper()
	args, ready := l.prepare(s.by)
	if !ready {
		return false
	}
	killed, e := l.kill(s, args)
	if !killed {
		l.expect(e, args, 0)
		l.known = l.entries(l.look())
		return false
	}
	l.count.add(l.name, point, s, false)
	before := l.honest(s)
	if after, ok := goesOn[s.by]; ok && l.random.IntN(4) == 0 {
		point, next := l.draw(after)
		if again, e := l.kill(next, l.repeated(s.by, args)); again {
			l.count.add(l.name, point, next, true)
			before = l.honest(s)
		} else {
			l.expect(e, args, 0)
		}
	}
	l.again(s.by, args)
	after := l.sound(s)
	l.untouched(l.staying(s.by, before), after)
	if s.by != theRestore && s.by != theRepeat { // else it has come back just now
		l.restores("latest", l.data)
	}
	if s.by == theConsolidate && l.random.IntN(2) == 0 {
		after = l.linksGo(capstan.SetID(args[1]))
	}
	l.known = l.entries(after)
	return true
}

// goesOn tells by which command's spots a run is killed that goes on after a kill.
var goesOn = map[command]command{
	theFirst: theBackup, theBackup: theBackup, theResume: theBackup, theRetry: theRetry,
	theRestore: theRepeat, theRepeat: theRepeat, theForget: theForget,
	theConsolidate: theConsolidate, thePool: thePool,
}

// prepare makes what a command needs and gives its arguments.
func (l *killLane) prepare(by command) (args []string, ready bool) {
	l.t.Helper()
	switch by {
	case theFirst:
		l.grow()
		return l.backup, true
	case theBackup:
		l.grow()
		if len(l.known) > 0 && l.random.IntN(2) == 0 {
			return slices.Concat(l.backup, []string{"--incremental"}), true
		}
		return l.backup, true
	case theResume:
		l.grow()
		unfinished := spot{by: by, place: "one", op: slowfs.Rename, names: "backup_*", most: 2, late: true}
		if l.staged {
			unfinished.place = "stage"
		}
		if l.random.IntN(2) == 0 {
			unfinished.op, unfinished.late = slowfs.Sync, false
		}
		killed, e := l.kill(unfinished, l.backup)
		if !killed {
			l.expect(e, l.backup, 0)
			l.known = l.entries(l.look())
		}
		return l.backup, killed
	case theRetry, theAbandon:
		return l.lacking(by)
	case theRestore, theRepeat:
		if len(l.known) == 0 {
			l.wholeBackup()
		}
		capstantest.RemoveAll(l.t, l.target())
		if err := os.Mkdir(l.target(), 0o755); err != nil {
			l.t.Fatal(err)
		}
		args = slices.Concat([]string{"restore", "latest", "--to", l.target()}, l.identity())
		if by == theRepeat {
			l.run(args...)
			args = append(args, "--overwrite")
		}
		return args, true
	case theForget:
		for do := true; do; do = len(l.known) < 2 {
			l.wholeBackup()
		}
		return forgetting[:], true
	case theConsolidate:
		return l.chainToConsolidate(), true
	case thePool:
		return l.setsToLetGo(), true
	}
	l.t.Fatalf("what is %s?", by)
	return nil, false
}

// forgetting are the words of a forget that keeps the newest set alone.
var forgetting = [...]string{"forget", "--keep-last", "1", "--yes", "--json"}

func (l *killLane) target() string { return filepath.Join(l.dir, "target") }

// identity are the flags that open what was encrypted.
func (l *killLane) identity() []string {
	if !l.encrypted {
		return nil
	}
	return []string{"--identity", l.key}
}

// wholeBackup makes a full set undisturbed.
func (l *killLane) wholeBackup() {
	l.t.Helper()
	l.grow()
	l.expect(l.try(l.backup...), l.backup, 0)
	l.known = l.entries(l.look())
}

// lacking makes a set of which the second volume lacks something, since it fails, and
// gives the command that is about it.
func (l *killLane) lacking(by command) (args []string, ready bool) {
	l.t.Helper()
	l.grow()
	fails := l.mount.Add(slowfs.Rule{Op: slowfs.Write, Name: "backup_*", After: l.random.IntN(3), Errno: unix.EIO})
	args = append(slices.Clone(l.backup), "--attempts", "1")
	e := l.launch(l.command(context.Background(), args...), l.through("two")).end()
	fails.End()
	l.expect(e, args, 3)
	run := regexp.MustCompile(`capstan retry (\d+)`).FindStringSubmatch(e.err)
	if run == nil {
		l.t.Fatalf("it does not name the run:\n%s", e.err)
	}
	return []string{string(by), run[1]}, true
}

// repeated is the command that goes on after args were killed.
func (l *killLane) repeated(by command, args []string) []string {
	if by == theRestore {
		return append(slices.Clone(args), "--overwrite")
	}
	return args
}

// again runs the command that was killed to its end.
func (l *killLane) again(by command, args []string) {
	l.t.Helper()
	switch by {
	case theFirst, theBackup, theResume:
		e := l.try(args...)
		l.expect(e, args, 0)
		if s := summaryOf(l.t, e); s.Status != "complete" {
			l.t.Errorf("set %s is %s", s.Set, s.Status)
		}
	case theRetry:
		l.expect(l.try(args...), args, 0)
		if set := l.look().sets[0]; set.Status != capstan.RunComplete {
			l.t.Errorf("after the retry, set %s is %s", set.ID, set.Status)
		}
	case theAbandon:
		l.expect(l.try(args...), args, 0, 4) // 4: the killed one had done it
	case theRestore:
		l.expect(l.try(args...), args, 0, 4) // 4: something is there, and nothing was touched
		args = l.repeated(by, args)
		fallthrough
	case theRepeat:
		l.expect(l.try(args...), args, 0)
		capstantest.CompareTrees(l.t, l.data, filepath.Join(l.target(), "data"))
		if found, err := os.ReadDir(l.target()); err != nil || len(found) != 1 {
			l.t.Errorf("left in the target: %v %v", found, err)
		}
	case theForget:
		if l.random.IntN(2) == 0 {
			l.wholeBackup()
		}
		kept := l.look().sets[0].ID
		l.expect(l.try(args...), args, 0)
		if r := l.look(); len(r.sets) != 1 || r.sets[0].ID != kept {
			l.t.Errorf("there are %d sets, of which %s is the first; want %s alone", len(r.sets), r.sets[0].ID, kept)
		}
	case theConsolidate:
		l.consolidated(args)
	case thePool:
		l.letGo(args)
	}
}

// expect expects one of some exit codes.
func (l *killLane) expect(e ended, args []string, codes ...int) {
	l.t.Helper()
	if !slices.Contains(codes, e.code) {
		out := slices.Collect(strings.Lines(e.out))
		l.t.Errorf("capstan %s: exit %d, want %v\n%s%s", strings.Join(args, " "), e.code, codes, strings.Join(out[max(0, len(out)-3):], ""), e.err)
	}
}

// honest expects that the catalog is sound after a kill, that what it calls complete
// is so, and that nothing is gone which was acknowledged before. It gives what the
// catalog knows to be written.
func (l *killLane) honest(s spot) written {
	l.t.Helper()
	l.catalogCheck(s)
	r := l.look()
	var complete []string
	for _, set := range r.sets {
		if set.Status == capstan.RunComplete {
			complete = append(complete, string(set.ID))
		}
	}
	if len(complete) > 0 {
		verify := slices.Concat([]string{"verify", "--read-data"}, complete[:min(2, len(complete))], l.identity()) // all of them when it is over
		if e := l.try(verify...); e.code != 0 {
			l.t.Errorf("killed %s; verify: exit %d\n%s%s", s, e.code, e.out, e.err)
		}
	}
	if !l.forgets(s.by) {
		l.remembered(s, r)
	}
	return l.written(r)
}

func (l *killLane) catalogCheck(s spot) {
	l.t.Helper()
	if e := l.try("catalog", "check"); e.code != 0 {
		l.t.Errorf("killed %s; catalog check: exit %d\n%s%s", s, e.code, e.out, e.err)
	}
}

// sound expects that the catalog is sound, all can be read, every archive holds what
// the catalog says and nothing twice, and nothing else is anywhere.
func (l *killLane) sound(s spot) records {
	l.t.Helper()
	l.catalogCheck(s)
	verify := append([]string{"verify", "--read-data"}, l.identity()...)
	if e := l.try(verify...); e.code != 0 {
		l.t.Errorf("killed %s; verify: exit %d\n%s%s", s, e.code, e.out, e.err)
	}
	r := l.look()
	if !l.forgets(s.by) {
		l.remembered(s, r)
	}
	l.storedOnce(r)
	l.nothingElse(s, r)
	return r
}

// publicKey gives the public key of a key file.
func publicKey(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`age1[0-9a-z]+`).FindString(string(text))
	if found == "" {
		t.Fatal(fmt.Errorf("%s names no public key", file))
	}
	return found
}
