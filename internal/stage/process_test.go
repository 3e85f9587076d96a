package stage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan"
)

const (
	childActs = "CAPSTAN_TEST_STAGE_ACTS"
	childPath = "CAPSTAN_TEST_STAGE_PATH"
)

const sharedQuota = capstan.MiB

// TestChild is another process that works on a stage; it does nothing by itself.
// It says a word a line on stdout and goes on when it reads a line.
func TestChild(t *testing.T) {
	acts := map[string]func(t *testing.T, s *Stage, told *bufio.Reader){
		"hold": childHolds, "write": childWrites, "work": childWorks,
	}
	act := acts[os.Getenv(childActs)]
	if act == nil {
		return
	}
	s, err := Open(t.Context(), os.Getenv(childPath), Options{Quota: sharedQuota, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	act(t, s, bufio.NewReader(os.Stdin))
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func say(t *testing.T, told *bufio.Reader, word string) {
	t.Helper()
	fmt.Printf("\nsays %s\n", word)
	if _, err := told.ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func childHolds(t *testing.T, s *Stage, told *bufio.Reader) {
	r := reserve(t, s, 900*capstan.KiB)
	say(t, told, "held")
	release(t, r)
	say(t, told, "released")
}

func childWrites(t *testing.T, s *Stage, told *bufio.Reader) {
	seal(t, s, setOne, nameOne, "sealed")
	file := begin(t, s, setOne, nameTwo, reserve(t, s, 900*capstan.KiB))
	write(t, file, "unsealed")
	say(t, told, "written")
}

// childWorks takes archives through the stage, some larger than was thought.
func childWorks(t *testing.T, s *Stage, told *bufio.Reader) {
	set := capstan.SetID(fmt.Sprintf("2026-11_%06d", os.Getpid()%1000000))
	say(t, told, "ready")
	for i := range 40 {
		name := capstan.ArchiveName(set, capstan.ArchiveNumber(i+1), capstan.CodecZstd)
		size := 50_000 + (i*7919+os.Getpid())%250_000
		file := begin(t, s, set, name, reserve(t, s, 200_000))
		for chunk := range slices.Chunk([]byte(pattern(size)), 30_000) {
			write(t, file, string(chunk))
		}
		if err := file.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := load(t, s, set, name); !same(got, pattern(size)) {
			t.Errorf("%s holds other bytes", name)
		}
		if err := s.Remove(t.Context(), set, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.LeaveSet(t.Context(), set); err != nil {
		t.Error(err)
	}
}

// child is a process that runs TestChild.
type child struct {
	*exec.Cmd
	t      *testing.T
	stdin  io.WriteCloser
	stdout *bufio.Scanner
	said   []string
}

func start(t *testing.T, act, path string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.CommandContext(t.Context(), self, "-test.run=^TestChild$", "-test.timeout=60s"), t: t}
	c.Env = append(os.Environ(), childActs+"="+act, childPath+"="+path)
	if c.stdin, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdout = bufio.NewScanner(stdout)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// hear waits for a word of the child.
func (c *child) hear(word string) {
	c.t.Helper()
	for c.stdout.Scan() {
		if c.said = append(c.said, c.stdout.Text()); c.stdout.Text() == "says "+word {
			return
		}
	}
	c.t.Fatalf("the child never said %q: %q", word, c.said)
}

func (c *child) tell() {
	c.t.Helper()
	if _, err := io.WriteString(c.stdin, "\n"); err != nil {
		c.t.Error(err)
	}
}

// end lets the child end by itself.
func (c *child) end() {
	c.t.Helper()
	c.stdin.Close()
	for c.stdout.Scan() {
		c.said = append(c.said, c.stdout.Text())
	}
	if err := c.Wait(); err != nil {
		c.t.Errorf("%v: %s", err, strings.Join(c.said, "\n"))
	}
}

func (c *child) kill() {
	c.t.Helper()
	if err := c.Process.Kill(); err != nil {
		c.t.Error(err)
	}
	if err := c.Wait(); err == nil {
		c.t.Error("the child was not killed")
	}
}

// Several processes, one quota: at no moment is more in the stage.
func TestProcessesShareTheQuota(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := open(t, path, Options{Quota: sharedQuota})
	var children []*child
	for range 3 {
		children = append(children, start(t, "work", path))
	}
	for _, c := range children {
		c.hear("ready")
		c.tell()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, c := range children {
			c.end()
		}
	}()
	looks, most := 0, capstan.Bytes(0)
	for over := false; !over; looks++ {
		select {
		case <-ended:
			over = true
		default:
		}
		if u := usage(t, s); u.Used > sharedQuota || u.Stray > 0 {
			t.Fatalf("%+v", u)
		} else {
			most = max(most, u.Used)
		}
		if size := sizeOf(t, path); size > sharedQuota {
			t.Fatalf("%s lie in the stage", size)
		}
	}
	t.Logf("%d looks, at most %s", looks, most)
	if most < sharedQuota/4 {
		t.Errorf("the stage was never a quarter full: %s", most)
	}
	if u := usage(t, s); u.Used != 0 {
		t.Errorf("afterwards %+v", u)
	}
}

// sizeOf adds up temp and final as they lie there. It is no moment: a file that is
// sealed while it looks could be seen twice, so each name counts once.
func sizeOf(t *testing.T, path string) (size capstan.Bytes) {
	t.Helper()
	sizes := map[string]int64{}
	for _, area := range []string{tempArea, finalArea} {
		err := filepath.WalkDir(filepath.Join(path, area), func(at string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && entry.IsDir() {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err == nil {
				sizes[entry.Name()] = max(sizes[entry.Name()], info.Size())
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range sizes {
		size += capstan.Bytes(n)
	}
	return size
}

func TestReleaseOfAnotherProcess(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	w := waits{begun: make(chan struct{}, 10)}
	s := open(t, path, Options{Quota: sharedQuota, Wait: w.hook})
	c := start(t, "hold", path)
	c.hear("held")
	granted := make(chan time.Time)
	go func() {
		release(t, reserve(t, s, 900*capstan.KiB))
		granted <- time.Now()
	}()
	<-w.begun
	begun := time.Now()
	c.tell()
	c.hear("released")
	// Whoever waits looks the less often, the longer a look takes: on a machine that is
	// busy with much else, seconds apart.
	if took := (<-granted).Sub(begun); took > time.Minute {
		t.Errorf("noticed after %s", took)
	}
	c.end()
	said, open := w.all()
	if want := fmt.Sprintf("process %d 900.0 KiB", c.Process.Pid); len(said) == 0 || open != 0 || !strings.Contains(said[0], want) {
		t.Errorf("declared %q, want that it names %q", said, want)
	}
}

// A process that is killed holds nothing any more, at once: no room, no set, no
// file in temp.
func TestKilledProcess(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	w := waits{begun: make(chan struct{}, 10)}
	s := open(t, path, Options{Quota: sharedQuota, Wait: w.hook})
	c := start(t, "write", path)
	c.hear("written")
	if err := s.ClaimSet(t.Context(), setOne); !errors.Is(err, capstan.ErrLocked) {
		t.Errorf("the set of a living process: %v", err)
	}
	report, err := s.Reconcile(t.Context(), keepAll)
	if err != nil || !slices.Equal(report.Busy, []capstan.SetID{setOne}) || len(report.Kept)+len(report.Leftovers) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	granted := make(chan *Reservation)
	go func() { granted <- reserve(t, s, 900*capstan.KiB) }()
	<-w.begun
	c.kill()
	release(t, <-granted)
	if err := s.ClaimSet(t.Context(), setOne); err != nil {
		t.Errorf("the set of a dead process: %v", err)
	}
	report, err = s.Reconcile(t.Context(), keepAll)
	if err != nil || !slices.Equal(report.Kept, []Found{{setOne, nameOne, 6}}) || !slices.Equal(report.Leftovers, []Found{{setOne, nameTwo, 8}}) || len(report.Busy) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if got := load(t, s, setOne, nameOne); got != "sealed" {
		t.Errorf("%q", got)
	}
	if got := tree(t, s.area(tempArea)); got != "" {
		t.Errorf("left in temp: %s", got)
	}
	entries, err := os.ReadDir(filepath.Join(path, ledgerArea))
	if len(entries) != 3 || err != nil {
		t.Errorf("in the ledger: %v, %v", entries, err)
	}
}
