//go:build !race

package cli_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"capstan/internal/capstantest"
)

// These tests are not built for the race detector, which takes several times the
// memory for itself. None is parallel to another.

const mib = 1 << 20

// measured runs the program to its end and gives the peak of its resident memory, and
// of the programs that it runs, in bytes. The kernel keeps that per address space (VmHWM of proc(5)) and takes
// it along to the grave, so it is looked at all the time. What wait4(2) tells of
// an ended child will not do: it includes the memory of the process that started
// it, which is this one.
func (f *field) measured(args ...string) (e ended, peak int64) {
	f.t.Helper()
	p := f.start(args...)
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	deadline := time.NewTimer(2 * verdict)
	defer deadline.Stop()
	for {
		if now := highWaters(f.t, p.cmd.Process.Pid); now > peak {
			peak = now
		}
		select {
		case <-look.C:
		case <-p.done:
			return p.end(), peak
		case <-deadline.C:
			return p.end(), peak // says that it hangs
		}
	}
}

// highWater is the peak of a process's resident memory so far; 0 when it is gone.
func highWater(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	return 0
}

// highWaters adds the peaks of a process and of those that it has started. One that has
// not got its own program yet is the same memory once more.
func highWaters(t *testing.T, pid int) int64 {
	t.Helper()
	sum := highWater(t, pid)
	program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)) // it may be gone
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		for child := range strings.FieldsSeq(string(children)) {
			if other, err := os.Readlink("/proc/" + child + "/exe"); err != nil || other == program {
				continue
			}
			if number, err := strconv.Atoi(child); err == nil {
				sum += highWaters(t, number)
			}
		}
	}
	return sum
}

// stays runs the program, expects success, and that it stays below a limit.
func (f *field) stays(limit int64, args ...string) ended {
	f.t.Helper()
	begin := time.Now()
	e, peak := f.measured(args...)
	f.check(e, 0, args)
	f.t.Logf("%s: peak %d MiB, %.1f s", args[0], peak/mib, time.Since(begin).Seconds())
	if peak > limit || peak < 5*mib { // no Go program takes less: then it was not measured
		f.t.Errorf("%s: peak of %d MiB, limit %d MiB", strings.Join(args, " "), peak/mib, limit/mib)
	}
	return e
}

// TestMemoryOfManyFiles backs up 300,000 tiny files within 200 MiB, a third of
// them in one directory, and then what has changed.
func TestMemoryOfManyFiles(t *testing.T) {
	const dirs, files, flat = 200, 1000, 100_000
	f := newField(t)
	mountTmpfs(t, f.dir, "size=8g,nr_inodes=2m")
	fill := func(dir string, n int) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Error(err)
		}
		for i := range n {
			path := filepath.Join(dir, fmt.Sprintf("a file of no size to speak of %06d", i))
			if err := os.WriteFile(path, []byte(path[len(path)-i%40:]), 0o644); err != nil {
				t.Error(err)
				return
			}
		}
	}
	var group sync.WaitGroup
	group.Go(func() { fill(filepath.Join(f.data, "flat"), flat) })
	for part := range 2 {
		group.Go(func() {
			for d := part; d < dirs; d += 2 {
				fill(filepath.Join(f.data, fmt.Sprintf("dir-%03d", d)), files)
			}
		})
	}
	group.Wait()
	const limit, entries = 200 * mib, dirs*files + dirs + flat + 2
	s := summaryOf(t, f.stays(limit, "backup", f.data, "--to", f.vol, "--json"))
	if s.Stored != entries {
		t.Errorf("%d entries stored", s.Stored)
	}
	f.stays(limit, "verify", "--read-data")
	fill(filepath.Join(f.data, "dir-150"), 2) // written anew
	for _, gone := range []string{"flat/a file of no size to speak of 077777", "dir-042"} {
		capstantest.RemoveAll(t, filepath.Join(f.data, gone))
	}
	s = summaryOf(t, f.stays(limit, "backup", f.data, "--to", f.vol, "--incremental", "--json"))
	if want := int64(entries - files - 2); s.Entries != want || s.Unchanged != want-2-2 { // the two files; flat and data are other than they were
		t.Errorf("%d entries, %d unchanged, want %d", s.Entries, s.Unchanged, want)
	}
	back := filepath.Join(f.dir, "back")
	f.stays(limit, "restore", "latest", "--to", back)
	if n := len(everything(t, back)); n != entries-files-2 {
		t.Errorf("%d entries restored", n)
	}
	capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"), capstantest.Skip(func(path string) bool {
		return !strings.HasPrefix(path, "dir-15") // a few of them; verify has read all
	}))
}

// TestMemoryOfOneFile backs up a file of 20 GiB within 200 MiB: five archives of
// the default size. What it holds is proven by verify, which reads all of it back.
func TestMemoryOfOneFile(t *testing.T) {
	f := newField(t)
	huge := mountHugeFile(t, filepath.Join(f.data, "huge"), 20<<30)
	const limit = 200 * mib
	s := summaryOf(t, f.stays(limit, "backup", f.data, "--to", f.vol, "--json"))
	if s.Status != "complete" || s.BytesIn != huge.size {
		t.Errorf("%s, %d bytes in, want %d", s.Status, s.BytesIn, huge.size)
	}
	set := f.show(s.Set)
	if len(set.Archives) < 5 {
		t.Errorf("%d archives", len(set.Archives))
	}
	f.truthful(set)
	f.stays(limit, "verify", "--read-data")
}

// TestMemoryOfAChain consolidates 35 sets within 200 MiB: a tree of many small files and
// some large ones, of which each night changed a few.
func TestMemoryOfAChain(t *testing.T) {
	const sets, dirs, files, seed = 35, 40, 200, 90
	f := newField(t)
	f.binary = buildProgram(t) // which tends its garbage
	mountTmpfs(t, f.dir, "size=4g")
	text := bytes.Repeat(noise(seed, 1<<10), 4) // compresses, as most of what is small
	for i := range dirs * files {
		path := filepath.Join(f.data, fmt.Sprintf("dir-%02d", i/files), "within", fmt.Sprintf("a file of a few kilobytes %04d", i%files))
		write(t, path, text[i%1000:])
	}
	for i := range 8 {
		write(t, filepath.Join(f.data, "large", fmt.Sprintf("noise-%d", i)), noise(seed+uint64(i), 12<<20))
		write(t, filepath.Join(f.data, "large", fmt.Sprintf("text-%d", i)), bytes.Repeat(noise(seed+100+uint64(i), 6<<20), 2))
	}
	f.run("backup", f.data, "--to", f.vol)
	for night := 1; night < sets; night++ {
		for i := night; i < dirs*files; i += 4 * sets {
			path := filepath.Join(f.data, fmt.Sprintf("dir-%02d", i/files), "within", fmt.Sprintf("a file of a few kilobytes %04d", i%files))
			write(t, path, text[(i+night)%1000:])
		}
		write(t, filepath.Join(f.data, "large", fmt.Sprintf("of-%02d", night)), noise(seed+uint64(200+night), 3<<20))
		f.run("backup", f.data, "--to", f.vol, "--incremental")
	}
	s := summaryOf(t, f.stays(200*mib, "consolidate", "latest", "--json"))
	if want := int64(dirs*(files+2) + 16 + sets - 1 + 2); s.Status != "complete" || s.Stored != want { // large and data itself
		t.Errorf("%s, %d entries stored, want %d", s.Status, s.Stored, want)
	}
	f.whole(s.Set)
}

// TestMemoryBudget keeps within less than 100 MiB when told so, on every way that
// the content of a large file takes: in, back, and out to a stream.
func TestMemoryBudget(t *testing.T) {
	f := newField(t)
	huge := mountHugeFile(t, filepath.Join(f.data, "huge"), 2<<30)
	want := huge.sum()
	const limit = 96 * mib
	const budget = "--memory=32MiB"
	f.stays(limit, "backup", f.data, "--to", f.vol, "--archive-size", "600MiB", budget)
	f.stays(limit, "verify", "--read-data", budget)
	back := filepath.Join(f.dir, "back")
	f.stays(limit, "restore", "latest", "--to", back, budget)
	restored, err := os.Open(filepath.Join(back, "data", "huge"))
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, restored); err != nil || !bytes.Equal(hash.Sum(nil), want[:]) {
		t.Errorf("the restored file is another: %v", err)
	}
}
