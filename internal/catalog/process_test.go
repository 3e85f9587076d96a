package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
)

// perArchive is how many files playFill puts into each archive.
const perArchive = 300

// playFill makes a set of the job and fills archive after archive, until it is
// killed or has the given number of them. It says each commit after the fact.
func playFill(ctx context.Context, path, jobAndCount string) error {
	name, count, _ := strings.Cut(jobAndCount, ":")
	archives, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	c, err := catalog.Open(ctx, path, catalog.Options{})
	if err != nil {
		return err
	}
	key := capstan.JobKey(name)
	lock, err := c.LockJob(ctx, key)
	if err != nil {
		return err
	}
	err = errors.Join(
		c.EnsureVolume(ctx, capstan.VolumeInfo{ID: volume, Kind: "dir", Location: "/mnt/disk", Created: noon}),
		c.EnsureJob(ctx, key, name, nil, nil))
	if err != nil {
		return err
	}
	set, err := c.BeginSet(ctx, key, "host", capstan.CodecZstd, nil, noon)
	if err != nil {
		return err
	}
	fmt.Println(set.ID)
	w := c.NewEntryWriter(ctx, set.ID)
	for n := range archives {
		archive, err := c.PlanArchive(ctx, set.ID, capstan.CodecZstd, volume)
		if err != nil {
			return err
		}
		if err := w.Add(ctx, filledArchive(archive.Number)); err != nil {
			return err
		}
		if n%3 == 0 {
			if err := w.Flush(ctx); err != nil {
				return err
			}
		}
		archive.Entries, archive.Size = perArchive+1, 1
		if err := c.CommitArchive(ctx, archive, capstan.CopyWritten, []capstan.VolumeID{volume}); err != nil {
			return err
		}
		fmt.Println(archive.Number)
	}
	return errors.Join(w.Close(), c.SetStatus(ctx, set.ID, capstan.RunComplete, capstan.Counts{}), lock.Unlock(), c.Close())
}

func filledArchive(number capstan.ArchiveNumber) []capstan.Entry {
	top := fmt.Sprintf("d%05d", number)
	entries := []capstan.Entry{dir(top, number)}
	for i := range perArchive {
		entries = append(entries, file(fmt.Sprintf("%s/sub%02d/file%04d", top, i/50, i), number))
	}
	return entries
}

// TestKill kills a process that fills a catalog, at random moments, and looks at
// what it left: every archive that it said is committed is there whole, of any
// other nothing is seen, and the rest goes away without a trace.
func TestKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "catalog.db")
	for round := range 5 {
		p := start(t, "fill", path, "killed:1000000")
		set := capstan.SetID(p.line(t))
		said := 0
		for range rand.IntN(12) {
			var err error
			said, err = strconv.Atoi(p.line(t))
			must(t, err)
		}
		timer := time.NewTimer(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		<-timer.C
		must(t, p.Process.Kill())
		for p.lines.Scan() { // what it said before it died
			n, err := strconv.Atoi(p.lines.Text())
			must(t, err)
			said = n
		}
		p.Wait() //nolint:errcheck // it was killed
		checkKilled(t, path, set, said, round)
	}
}

func checkKilled(t *testing.T, path string, set capstan.SetID, said, round int) {
	t.Helper()
	c, err := catalog.Open(t.Context(), path, catalog.Options{})
	must(t, err)
	lock, err := c.LockJob(t.Context(), "killed") // died with the process
	must(t, err)
	archives, err := c.Archives(t.Context(), set)
	must(t, err)
	if len(archives) < said || len(archives) > said+1 {
		t.Errorf("round %d: %d archives are committed, %d were said", round, len(archives), said)
	}
	requireArchives(t, c, set, len(archives))
	if _, _, err := c.DiscardUnsealed(t.Context(), set); err != nil {
		t.Error(err)
	}
	requireArchives(t, c, set, len(archives))
	requireSound(t, c)
	open, err := c.OpenSets(t.Context(), "killed")
	if err != nil || len(open) != round+1 || open[0].ID != set {
		t.Errorf("round %d: %d unfinished sets %v", round, len(open), err)
	}
	// The next run packs what is lost, and what comes after it.
	archive := plan(t, c, set)
	if int(archive.Number) != len(archives)+1 {
		t.Errorf("next archive %d after %d", archive.Number, len(archives))
	}
	add(t, c, set, filledArchive(archive.Number)...)
	commit(t, c, archive)
	requireArchives(t, c, set, len(archives)+1)
	requireSound(t, c)
	must(t, errors.Join(lock.Unlock(), c.Close()))
}

// requireArchives expects all entries of the first n archives, and no others.
func requireArchives(t *testing.T, c *catalog.Catalog, set capstan.SetID, n int) {
	t.Helper()
	rows := map[capstan.ArchiveNumber]int{}
	for entry, err := range c.Walk(t.Context(), set, "") {
		must(t, err)
		rows[entry.Archive]++
	}
	if len(rows) != n {
		t.Errorf("entries of %d archives are seen, %d are committed", len(rows), n)
	}
	for number, got := range rows {
		if got != perArchive+1 || int(number) > n {
			t.Errorf("archive %d of %d has %d entries, want %d", number, n, got, perArchive+1)
		}
	}
}

// TestProcessesWriteAtOnce lets two processes fill one catalog, from its creation
// on, while this one writes too.
func TestProcessesWriteAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "catalog.db")
	const archives = 20
	others := []*process{start(t, "fill", path, fmt.Sprintf("one:%d", archives)), start(t, "fill", path, fmt.Sprintf("two:%d", archives))}
	waits := 0
	c := openAt(t, path, catalog.Options{Wait: func(string) func() { waits++; return func() {} }})
	set := begin(t, c)
	run, err := c.BeginRun(t.Context(), set.ID, job, "backup", noon)
	must(t, err)
	for range 100 {
		must(t, c.Heartbeat(t.Context(), run, []byte("{}")))
	}
	var sets []capstan.SetID
	for _, p := range others {
		sets = append(sets, capstan.SetID(p.line(t)))
		if _, err := io.Copy(io.Discard, readerOf(p)); err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err != nil {
			t.Fatalf("%v: %s", err, p.stderr.String())
		}
	}
	for _, set := range sets {
		requireArchives(t, c, set, archives)
	}
	all, err := c.Sets(t.Context(), catalog.SetFilter{})
	if err != nil || len(all) != 3 {
		t.Errorf("%d sets %v, want 3 with ids of their own", len(all), err)
	}
	t.Logf("%d declared waits", waits)
}

// readerOf reads what is left of the lines of a process.
func readerOf(p *process) io.Reader {
	var rest strings.Builder
	for p.lines.Scan() {
		rest.WriteString(p.lines.Text() + "\n")
	}
	return strings.NewReader(rest.String())
}

func playImport(ctx context.Context, path string) error {
	c, err := catalog.Open(ctx, path, catalog.Options{})
	if err != nil {
		return err
	}
	if err := c.EnsureVolume(ctx, capstan.VolumeInfo{ID: volume, Kind: "dir", Location: "/mnt/disk", Created: noon}); err != nil {
		return err
	}
	set, archives := foreign()
	_, err = c.Import(ctx, set, archives, volume, func(yield func(capstan.Entry, error) bool) {
		for n := 0; ; n++ {
			if n == 60_000 { // a full batch was written or is about to be
				fmt.Println("importing")
			}
			if !yield(file(fmt.Sprintf("d%d/f%d", n/100, n), 1), nil) {
				return
			}
		}
	})
	return err
}

// TestKillImport kills an import in its middle; nobody sees it, and the next one
// replaces it.
func TestKillImport(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "catalog.db")
	p := start(t, "import", path)
	if line := p.line(t); line != "importing" {
		t.Fatal(line)
	}
	must(t, p.Process.Kill())
	p.Wait() //nolint:errcheck // it was killed
	c := openAt(t, path, catalog.Options{})
	if sets, err := c.Sets(t.Context(), catalog.SetFilter{}); err != nil || len(sets) != 0 {
		t.Fatalf("half a set is seen: %+v %v", sets, err)
	}
	set, archives := foreign()
	imported, err := c.Import(t.Context(), set, archives, volume, each([]capstan.Entry{file("only", 1)}))
	if err != nil || !imported {
		t.Fatalf("import again: %t %v", imported, err)
	}
	requirePaths(t, walk(t, c, set.ID, ""), "only")
}
