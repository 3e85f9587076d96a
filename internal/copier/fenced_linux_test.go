package copier

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/volume/dir"
)

const (
	fencedAct  = "CAPSTAN_TEST_FENCED_ACT"
	fencedHome = "CAPSTAN_TEST_FENCED_HOME"

	fencedVolumeID                = "volume:one"
	fencedSet      capstan.SetID  = "2026-11_000001"
	fencedJob      capstan.JobKey = "job"
	fencedTTL                     = 4 * time.Second
	fencedMark                    = "home#claim"
	fencedNumber                  = capstan.ArchiveNumber(1)
	fencedCodec    capstan.Codec  = capstan.CodecNone
	heldForLong                   = time.Hour
)

// holder is what an owner of the volume works with.
type holder struct {
	catalog *catalog.Catalog
	volume  capstan.Volume // as it is
	lease   *catalog.Lease
}

func openHolder(ctx context.Context, home string) (*holder, error) {
	c, err := catalog.Open(ctx, filepath.Join(home, "catalog.db"), catalog.Options{})
	if err != nil {
		return nil, err
	}
	volume, err := dir.Open(filepath.Join(home, "volume"), dir.Options{Catalog: "home", Create: true})
	if err != nil {
		return nil, err
	}
	return &holder{catalog: c, volume: volume}, nil
}

// TestFencedChild is an owner in a process of its own; it does nothing by itself.
// It says a word a line and goes on when it reads a line.
func TestFencedChild(t *testing.T) {
	act := os.Getenv(fencedAct)
	if act == "" {
		return
	}
	ctx := t.Context()
	o, err := openHolder(ctx, os.Getenv(fencedHome))
	if err != nil {
		t.Fatal(err)
	}
	ttl := fencedTTL
	if act == "killed" {
		ttl = heldForLong
	}
	if o.lease, err = o.catalog.Acquire(ctx, fencedVolumeID, act, ttl); err != nil {
		t.Fatal(err)
	}
	told := bufio.NewReader(os.Stdin)
	say := func(format string, args ...any) {
		fmt.Printf("\nsays "+format+"\n", args...)
		if _, err := told.ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	volume := Fenced(o.volume, o.lease)
	if err := volume.ClaimSet(ctx, fencedSet, fencedMark); err != nil {
		t.Fatal(err)
	}
	file, err := volume.Create(ctx, fencedSet, capstan.ArchiveName(fencedSet, fencedNumber, fencedCodec))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(bytes.Repeat([]byte("first "), 1000)); err != nil {
		t.Fatal(err)
	}
	say("writing")
	// Stopped meanwhile, and continued: everything is tried at once.
	_, writeErr := file.Write([]byte("too late"))
	commitErr := file.Commit(ctx)
	_, createErr := volume.Create(ctx, fencedSet, "other")
	_, discardErr := volume.Discard(ctx, fencedSet)
	archive := capstan.Archive{Set: fencedSet, Number: fencedNumber, Codec: fencedCodec, Size: 6000, Entries: 1}
	archive.Name = capstan.ArchiveName(fencedSet, fencedNumber, fencedCodec)
	recordErr := o.catalog.CommitArchive(ctx, archive, capstan.CopyWritten, []capstan.VolumeID{o.volume.Info().ID}, o.lease.Fence())
	for i, err := range []error{
		writeErr, commitErr, createErr, discardErr, recordErr, o.lease.Valid(),
		volume.Remove(ctx, fencedSet, archive.Name), volume.ClaimSet(ctx, fencedSet, fencedMark),
	} {
		if !errors.Is(err, capstan.ErrLeaseLost) {
			t.Errorf("act %d of a stale owner: %v", i, err)
		}
	}
	if err := errors.Join(file.Abort(), o.lease.Release(ctx)); err != nil {
		t.Error(err)
	}
	say("lost %q", o.lease.Valid())
	if err := errors.Join(o.volume.Close(), o.catalog.Close()); err != nil {
		t.Error(err)
	}
}

// child is a process that runs TestFencedChild.
type child struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
	said   []string
}

func startFenced(t *testing.T, act, home string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.CommandContext(t.Context(), self, "-test.run=^TestFencedChild$", "-test.timeout=120s")}
	c.Env = append(os.Environ(), fencedAct+"="+act, fencedHome+"="+home)
	c.Stderr = os.Stderr
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

// hear waits for a line of the child that begins with the word, and gives it.
func (c *child) hear(t *testing.T, word string) string {
	t.Helper()
	for c.stdout.Scan() {
		c.said = append(c.said, c.stdout.Text())
		if strings.HasPrefix(c.stdout.Text(), "says "+word) {
			return c.stdout.Text()
		}
	}
	t.Fatalf("the child never said %q: %q", word, c.said)
	return ""
}

func (c *child) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := c.Process.Signal(signal); err != nil {
		t.Error(err)
	}
}

// prepare makes a catalog with a set and a planned archive, and a volume that the
// set has claimed.
func prepare(t *testing.T, home string) *holder {
	t.Helper()
	ctx := t.Context()
	path := filepath.Join(home, "volume")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	o, err := openHolder(ctx, home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(o.volume.Close(), o.catalog.Close()); err != nil {
			t.Error(err)
		}
	})
	err = errors.Join(o.catalog.EnsureVolume(ctx, o.volume.Info()), o.catalog.EnsureJob(ctx, fencedJob, "", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	set, err := o.catalog.BeginSet(ctx, fencedJob, "host", fencedCodec, nil, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	if err != nil || set.ID != fencedSet {
		t.Fatal(set.ID, err)
	}
	_, err = o.catalog.PlanArchive(ctx, set.ID, fencedCodec, o.volume.Info().ID)
	if err = errors.Join(err, o.volume.ClaimSet(ctx, set.ID, fencedMark)); err != nil {
		t.Fatal(err)
	}
	return o
}

// content is every file below a directory, with its bytes.
func content(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, root)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func requireSameContent(t *testing.T, when, root string, want map[string]string) {
	t.Helper()
	got := content(t, root)
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s is new", when, name)
		}
	}
	for name, data := range want {
		if got[name] != data {
			t.Errorf("%s: %s changed from %d bytes to %d", when, name, len(data), len(got[name]))
		}
	}
}

// A killed owner holds up nobody, however long its lease; not even while nobody has
// taken note of its death.
func TestLeaseOfAKilledOwner(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	o := prepare(t, home)
	c := startFenced(t, "killed", home)
	c.hear(t, "writing")
	if _, err := o.catalog.Acquire(t.Context(), fencedVolumeID, "the next", heldForLong); !errors.Is(err, capstan.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", c.Process.Pid)) {
		t.Errorf("the lease of a living owner: %v", err)
	}
	c.signal(t, syscall.SIGKILL)
	for c.stdout.Scan() { // its end closes the pipe; it is not waited for, so it stays a zombie
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the last thread may take a moment
	defer cancel()
	begun := time.Now()
	lease, err := o.catalog.AcquireWait(ctx, fencedVolumeID, "the next", heldForLong)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("taken after %s", time.Since(begun))
	if lease.Fence().Epoch != 2 {
		t.Errorf("%+v", lease.Fence())
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err == nil {
		t.Error("it was not killed")
	}
}

// An owner that is stopped past its time is followed by the next one, which writes
// the same archive. Continued, the first writes nothing more, to the volume or to
// the catalog.
func TestLeaseOfAStoppedOwner(t *testing.T) {
	t.Parallel()
	for _, takenOver := range []bool{true, false} {
		t.Run(fmt.Sprintf("taken over %t", takenOver), func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			o := prepare(t, home)
			c := startFenced(t, "stopped", home)
			c.hear(t, "writing")
			c.signal(t, syscall.SIGSTOP)
			begun := time.Now()
			lease, err := o.catalog.AcquireWait(t.Context(), fencedVolumeID, "the next", heldForLong)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("taken after %s", time.Since(begun))
			if lease.Fence().Epoch != 2 {
				t.Errorf("%+v", lease.Fence())
			}
			if takenOver {
				write(t, o, lease)
			}
			before := content(t, filepath.Join(home, "volume"))
			c.signal(t, syscall.SIGCONT)
			fmt.Fprintln(c.stdin)
			t.Log(c.hear(t, "lost"))
			requireSameContent(t, "continued", filepath.Join(home, "volume"), before)
			c.stdin.Close()
			for c.stdout.Scan() {
				c.said = append(c.said, c.stdout.Text())
			}
			if err := c.Wait(); err != nil {
				t.Errorf("%v: %s", err, strings.Join(c.said, "\n"))
			}
			requireSameContent(t, "ended", filepath.Join(home, "volume"), before)
			archives, err := o.catalog.Archives(t.Context(), fencedSet)
			if err != nil || takenOver != (len(archives) == 1) || takenOver && archives[0].Size != 7 {
				t.Errorf("the catalog has %+v %v", archives, err)
			}
			if err := errors.Join(lease.Valid(), lease.Release(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}

// write is what the next owner does: it discards what is unfinished and writes the
// archive.
func write(t *testing.T, o *holder, lease *catalog.Lease) {
	t.Helper()
	ctx := t.Context()
	volume := Fenced(o.volume, lease)
	name := capstan.ArchiveName(fencedSet, fencedNumber, fencedCodec)
	if n, err := volume.Discard(ctx, fencedSet); n != 1 || err != nil {
		t.Errorf("%d unfinished files, %v", n, err)
	}
	file, err := volume.Create(ctx, fencedSet, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("second ")); err != nil {
		t.Error(err)
	}
	if err := file.Commit(ctx); err != nil {
		t.Error(err)
	}
	archive := capstan.Archive{Set: fencedSet, Number: fencedNumber, Codec: fencedCodec, Name: name, Size: 7, Entries: 1}
	if err := o.catalog.CommitArchive(ctx, archive, capstan.CopyWritten, []capstan.VolumeID{o.volume.Info().ID}, lease.Fence()); err != nil {
		t.Error(err)
	}
}

// revoked is a right that is lost after it was asked for so many times.
type revoked struct{ left int }

var errRevoked = errors.New("revoked")

func (r *revoked) Valid() error {
	if r.left--; r.left < 0 {
		return errRevoked
	}
	return nil
}

// The right is lost before each question in turn: no name appears after it, and
// nothing that is there changes.
func TestFencedAtEveryStep(t *testing.T) {
	t.Parallel()
	const name = "backup_2026-11_000001_0001.tar"
	for left := 0; ; left++ {
		home := t.TempDir()
		o := prepare(t, home)
		root := filepath.Join(home, "volume")
		before := content(t, root)
		by := &revoked{left}
		volume := Fenced(o.volume, by)
		file, err := volume.Create(t.Context(), fencedSet, name)
		if err == nil {
			if _, err = file.Write([]byte("x")); err == nil {
				err = file.Commit(t.Context())
			} else if abortErr := file.Abort(); abortErr != nil {
				t.Error(abortErr)
			}
		}
		if err == nil {
			if by.left != 0 || content(t, root)["/"+string(fencedSet)+"/"+name] == "" && len(content(t, root)) == len(before) {
				t.Errorf("it asked for %d more: %v", by.left, content(t, root))
			}
			if left != 4 {
				t.Errorf("it asked %d times", left)
			}
			return
		}
		if !errors.Is(err, errRevoked) {
			t.Fatalf("lost after %d: %v", left, err)
		}
		for path := range content(t, root) {
			if strings.HasSuffix(path, name) {
				t.Errorf("lost after %d: %s is there", left, path)
			}
		}
	}
}
