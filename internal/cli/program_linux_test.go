package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest"
)

// verdict is when a command counts as hung, on a machine that is busy with much
// else. Nothing waits that long when all is well.
const verdict = 4 * time.Minute

// program is a running capstan.
type program struct {
	t    *testing.T
	args []string
	cmd  *exec.Cmd
	out  saying
	err  saying
	done chan struct{}
	note string // a file that it makes when it has heard a signal
}

// saying is what a program has said so far on one of its streams.
type saying struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *saying) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(text)
}

func (s *saying) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// ended is what became of a program.
type ended struct {
	code int // -1 when a signal ended it
	out  string
	err  string
}

// start starts the program with this field's home.
func (f *field) start(args ...string) *program {
	f.t.Helper()
	return f.launch(f.command(context.Background(), args...), (*exec.Cmd).Start)
}

// launch starts a prepared command by a way of one's own; what it writes is kept, unless
// its stdout leads elsewhere.
func (f *field) launch(cmd *exec.Cmd, begin func(*exec.Cmd) error) *program {
	f.t.Helper()
	p := &program{t: f.t, args: cmd.Args[1:], cmd: cmd, done: make(chan struct{}), note: filepath.Join(f.t.TempDir(), "heard")}
	p.cmd.Env = append(p.cmd.Env, heardVariable+"="+p.note)
	p.cmd.Stderr = &p.err
	if p.cmd.Stdout == nil {
		p.cmd.Stdout = &p.out
	}
	if err := begin(p.cmd); err != nil {
		f.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // its state is looked at by end
	}()
	f.t.Cleanup(func() {
		select {
		case <-p.done:
		default:
			p.signal(unix.SIGCONT)
			p.signal(unix.SIGKILL)
			for _, m := range f.slow { // who waits for one cannot be killed
				m.End()
			}
			<-p.done
		}
	})
	return p
}

// signal sends a signal; that the program has ended by then is fine.
func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal %s: %v", s, err)
	}
}

// told sends a signal that the program shall hear, and waits until it has, or has ended:
// what is held until then goes on when the program knows.
func (p *program) told(s syscall.Signal) {
	p.t.Helper()
	p.signal(s)
	until(p.t, "the program to hear of "+s.String(), func() bool { return !p.running() || exists(p.note) })
}

// says waits until the program has said something, in these words, or has ended.
func (p *program) says(words string) {
	p.t.Helper()
	until(p.t, "the program to say: "+words, func() bool {
		return !p.running() || strings.Contains(p.out.String(), words) || strings.Contains(p.err.String(), words)
	})
}

// running reports whether it has not ended yet.
func (p *program) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// within waits until the program ends or the time is over; it reports whether it
// is still running.
func (p *program) within(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done:
		return false
	case <-timer.C:
		return true
	}
}

// end waits for the program to end.
func (p *program) end() ended {
	p.t.Helper()
	if p.within(verdict) {
		p.signal(unix.SIGQUIT) // its goroutines say where they hang
		p.within(10 * time.Second)
		p.signal(unix.SIGKILL)
		<-p.done
		p.t.Fatalf("capstan %s hangs:\n%s%s", strings.Join(p.args, " "), p.out.String(), p.err.String())
	}
	return ended{code: p.cmd.ProcessState.ExitCode(), out: p.out.String(), err: p.err.String()}
}

// try runs the program to its end, whatever that is.
func (f *field) try(args ...string) ended {
	f.t.Helper()
	return f.start(args...).end()
}

// exits runs the program and expects an exit code, and words on stderr.
func (f *field) exits(code int, args []string, words ...string) ended {
	f.t.Helper()
	e := f.try(args...)
	f.check(e, code, args, words...)
	return e
}

func (f *field) check(e ended, code int, args []string, words ...string) {
	f.t.Helper()
	if e.code != code {
		f.t.Errorf("capstan %s: exit %d, want %d\n%s%s", strings.Join(args, " "), e.code, code, e.out, e.err)
	}
	for _, word := range words {
		if !strings.Contains(e.err, word) {
			f.t.Errorf("capstan %s does not say %q:\n%s", strings.Join(args, " "), word, e.err)
		}
	}
}

// until polls for a condition, and fails the test when it does not come.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(verdict)
	defer deadline.Stop()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("waited %s for: %s", verdict, what)
		}
	}
}

// setLine is a set as `sets --json` and `show --json` print it.
type setLine struct {
	Set      string `json:"set"`
	Status   string `json:"status"`
	Entries  int64  `json:"entries"`
	Archives []struct {
		Name   string `json:"name"`
		Size   int64  `json:"size"`
		Copies []struct {
			State string `json:"state"`
		} `json:"copies"`
	} `json:"archives"`
	Named []struct {
		Path    string `json:"path"`
		Outcome string `json:"outcome"`
	} `json:"named"`
}

// summary is the last line of a run with --json.
type summary struct {
	Type      string `json:"type"`
	Set       string `json:"set"`
	Status    string `json:"status"`
	Resumed   bool   `json:"resumed"`
	Entries   int64  `json:"entries"`
	Stored    int64  `json:"stored"`
	Changed   int64  `json:"changed"`
	Unchanged int64  `json:"unchanged"`
	Excluded  int64  `json:"excluded"`
	Vanished  int64  `json:"vanished"`
	Failed    int64  `json:"failed"`
	BytesIn   int64  `json:"bytes_in"`
	Problems  []struct {
		Object string `json:"object"`
		Reason string `json:"reason"`
	} `json:"problems"`
}

// parse reads JSON lines.
func parse[T any](t *testing.T, text string) (all []T) {
	t.Helper()
	for line := range strings.Lines(text) {
		var one T
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v in: %s", err, line)
		}
		all = append(all, one)
	}
	return all
}

// summaryOf is the summary that a run with --json has printed.
func summaryOf(t *testing.T, e ended) summary {
	t.Helper()
	lines := parse[summary](t, e.out)
	if len(lines) == 0 || lines[len(lines)-1].Type != "summary" {
		t.Fatalf("no summary (exit %d):\n%s%s", e.code, e.out, e.err)
	}
	return lines[len(lines)-1]
}

// sets lists the sets of this field's catalog, oldest first.
func (f *field) sets() []setLine {
	f.t.Helper()
	return parse[setLine](f.t, f.run("sets", "--json"))
}

// onlySet is the one set of the catalog, in detail.
func (f *field) onlySet() setLine {
	f.t.Helper()
	sets := f.sets()
	if len(sets) != 1 {
		f.t.Fatalf("%d sets, want 1: %+v", len(sets), sets)
	}
	return f.show(sets[0].Set)
}

func (f *field) show(set string) setLine {
	f.t.Helper()
	return parse[setLine](f.t, f.run("show", set, "--json"))[0]
}

// onDisk is an archive file as the filesystem knows it.
type onDisk struct {
	inode uint64
	size  int64
	mtime unix.Timespec
}

// archives lists the archive files of a set on a volume.
func archives(t *testing.T, volume, set string) map[string]onDisk {
	t.Helper()
	found := map[string]onDisk{}
	paths, err := filepath.Glob(filepath.Join(volume, set, "backup_*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(path)] = onDisk{st.Ino, st.Size, st.Mtim}
	}
	return found
}

// truthful expects that the catalog is sound, and that every archive which it
// records of a set lies on the volume as it was written. It gives the archives
// that lie there beside them.
func (f *field) truthful(set setLine) (unrecorded []string) {
	f.t.Helper()
	f.run("catalog", "check")
	there := archives(f.t, f.vol, set.Set)
	for _, a := range set.Archives {
		file, ok := there[a.Name]
		if !ok || file.size != a.Size {
			f.t.Errorf("set %s is %s and records %s of %d bytes; the volume has %+v", set.Set, set.Status, a.Name, a.Size, file)
		}
		if len(a.Copies) != max(f.copies, 1) {
			f.t.Errorf("copies of %s: %+v", a.Name, a.Copies)
		}
		for _, c := range a.Copies {
			if c.State != "written" && c.State != "verified" {
				f.t.Errorf("a copy of %s is %s", a.Name, c.State)
			}
		}
		delete(there, a.Name)
	}
	return slices.Sorted(maps.Keys(there))
}

// stopped expects what a backup that ended by itself, but not well, leaves: an
// interrupted set, whose archives are recorded one and all, and nothing unfinished.
// A resumed one may have ended between taking archives back in the catalog and
// removing their files, which the next one does.
func (f *field) stopped(set setLine, resumed bool) {
	f.t.Helper()
	if set.Status != "interrupted" {
		f.t.Errorf("set %s is %s, want interrupted", set.Set, set.Status)
	}
	if more := f.truthful(set); len(more) > 0 && !resumed {
		f.t.Errorf("on the volume and not recorded: %q", more)
	}
	if parts := unfinished(f.t, f.vol); len(parts) > 0 {
		f.t.Errorf("left on the volume: %q", parts)
	}
}

// whole expects that a set is complete in every respect and that its restore
// equals the source.
func (f *field) whole(id string, options ...capstantest.Option) {
	f.t.Helper()
	set := f.show(id)
	if set.Status != "complete" {
		f.t.Errorf("set %s is %s", id, set.Status)
	}
	if more := f.truthful(set); len(more) > 0 {
		f.t.Errorf("on the volume and not recorded: %q", more)
	}
	f.once(id)
	if parts := unfinished(f.t, f.vol); len(parts) > 0 {
		f.t.Errorf("left on the volume: %q", parts)
	}
	if e := f.try("verify", id, "--read-data"); e.code != 0 {
		f.t.Errorf("verify %s: exit %d\n%s%s", id, e.code, e.out, e.err)
	}
	back, err := os.MkdirTemp(f.dir, "back-")
	if err != nil {
		f.t.Fatal(err)
	}
	f.run("restore", id, "--to", back)
	capstantest.CompareTrees(f.t, f.data, filepath.Join(back, filepath.Base(f.data)), options...)
	capstantest.RemoveAll(f.t, back)
}

// once expects that the catalog holds no path of a set twice.
func (f *field) once(id string) {
	f.t.Helper()
	seen := map[string]bool{}
	for line := range strings.Lines(f.run("ls", id, "-r", "--json")) {
		var entry struct{ Path string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			f.t.Fatal(err)
		}
		if seen[entry.Path] {
			f.t.Errorf("set %s holds %q twice", id, entry.Path)
		}
		seen[entry.Path] = true
	}
}

// unfinished lists what is left of an unfinished write below a directory, but for
// a new marker of the volume: a kill while it is made leaves it beside the old one.
func unfinished(t *testing.T, dir string) (found []string) {
	t.Helper()
	for _, path := range everything(t, dir) {
		if strings.HasSuffix(path, ".part") && !strings.HasPrefix(path, ".capstan-volume.json.") || strings.Contains(path, ".capstan-claim") {
			found = append(found, path)
		}
	}
	return found
}

// everything lists all that lies below a directory, by path.
func everything(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != dir {
			paths = append(paths, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	return paths
}

// mountTmpfs mounts a small filesystem at dir, which it makes.
func mountTmpfs(t *testing.T, dir, options string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount tmpfs (needs root): %v", err)
	}
	t.Cleanup(func() {
		for unix.Unmount(dir, unix.MNT_DETACH) == nil { // the test may have mounted again
		}
	})
}

// remount changes the size of a mounted tmpfs.
func remount(t *testing.T, dir, options string) {
	t.Helper()
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT, options); err != nil {
		t.Fatal(err)
	}
}
