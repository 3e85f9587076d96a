package catalog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"capstan"
	"capstan/internal/catalog"
)

// foreign is a set as a volume tells of it.
func foreign() (capstan.Set, []capstan.Archive) {
	set := capstan.Set{
		ID: "2026-10_000007", Base: "2026-10_000006", Job: "elsewhere", Status: capstan.RunPartial, Started: noon, Finished: noon, Codec: capstan.CodecZstd,
		Host: "other", Sources: []string{"/home"}, Recipients: []string{"age1x"}, Counts: capstan.Counts{Entries: 4, Failed: 1},
	}
	var archives []capstan.Archive
	for number := range capstan.ArchiveNumber(2) {
		archives = append(archives, capstan.Archive{
			Set: set.ID, Number: number + 1, Name: capstan.ArchiveName(set.ID, number+1, set.Codec), Codec: set.Codec,
			Entries: 1 << 20, Size: 10, TarSize: 20, Hash: capstan.Hash{byte(number)},
		})
	}
	return set, archives
}

func testImport(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	begin(t, c) // records the volume
	set, archives := foreign()
	entries := randomTree(rand.New(rand.NewPCG(4, 4)), 3000, 2)
	broken := errors.New("the manifest ends here")
	cut := func(yield func(capstan.Entry, error) bool) {
		for _, e := range entries[:2000] {
			if !yield(e, nil) {
				return
			}
		}
		yield(capstan.Entry{}, broken)
	}
	if imported, err := c.Import(ctx, set, archives, volume, cut); !errors.Is(err, broken) || imported {
		t.Errorf("a cut manifest: %t %v", imported, err)
	}
	if _, err := c.Set(ctx, set.ID); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("half a set is seen: %v", err)
	}
	if imported, err := c.Import(ctx, set, archives, volume, each(entries)); err != nil || !imported {
		t.Fatalf("import: %t %v", imported, err)
	}
	got, err := c.Set(ctx, set.ID)
	must(t, err)
	if got.Base != set.Base || got.Status != set.Status || got.Counts != set.Counts || got.Job != set.Job || !got.Finished.Equal(noon) {
		t.Errorf("imported set %+v", got)
	}
	requirePaths(t, walk(t, c, set.ID, ""), paths(entries)...)
	if list, err := c.Archives(ctx, set.ID); err != nil || !slices.Equal(list, archives) {
		t.Errorf("archives %+v %v", list, err)
	}
	copies, err := c.Copies(ctx, set.ID)
	if err != nil || len(copies) != 2 || copies[0].State != capstan.CopyWritten {
		t.Errorf("copies %+v %v", copies, err)
	}
	testImportAgain(t, c, set, archives)
	october, err := c.BeginSet(ctx, job, "host", capstan.CodecZstd, nil, noon.AddDate(0, -1, 0))
	if err != nil || october.ID != "2026-10_000008" {
		t.Errorf("the next set of the imported month is %s %v", october.ID, err)
	}
}

// testImportAgain imports the same set from the same and from another volume.
func testImportAgain(t *testing.T, c *catalog.Catalog, set capstan.Set, archives []capstan.Archive) {
	t.Helper()
	ctx := t.Context()
	untouched := func(func(capstan.Entry, error) bool) { t.Error("the entries were read again") }
	must(t, c.SetCopy(ctx, set.ID, 1, volume, capstan.CopyDamaged, "bits", noon))
	must(t, c.EnsureVolume(ctx, capstan.VolumeInfo{ID: "v2", Kind: "dir", Location: "/mnt/2", Created: noon}))
	for _, on := range []capstan.VolumeID{volume, "v2"} {
		if imported, err := c.Import(ctx, set, archives, on, untouched); err != nil || imported {
			t.Errorf("import again from %s: %t %v", on, imported, err)
		}
	}
	copies, err := c.Copies(ctx, set.ID)
	if err != nil || len(copies) != 4 || copies[0].State != capstan.CopyDamaged || copies[1].Volume != "v2" {
		t.Errorf("copies %+v %v", copies, err)
	}
	other := slices.Clone(archives)
	other[1].Hash = capstan.Hash{99}
	if _, err := c.Import(ctx, set, other, volume, untouched); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("another set of the same id: %v", err)
	}
	set.ID = "2026-10_000009"
	if _, err := c.Import(ctx, set, archives, "nowhere", each(nil)); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("import from an unknown volume: %v", err)
	}
	set.ID = "../../etc"
	if _, err := c.Import(ctx, set, archives, volume, each(nil)); err == nil {
		t.Error("a set with an impossible id was imported")
	}
}

func each(entries []capstan.Entry) iter.Seq2[capstan.Entry, error] {
	return func(yield func(capstan.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func testExport(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := begin(t, c)
	plan(t, c, set.ID)
	add(t, c, set.ID, oddEntries()...)
	commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
	run, err := c.BeginRun(ctx, set.ID, job, "backup", noon)
	must(t, err)
	must(t, c.FinishRun(ctx, run, capstan.RunComplete, capstan.Counts{}, []byte(`{"type":"summary"}`)))
	must(t, c.SetSums(ctx, set.ID, volume, capstan.Hash{1}))
	must(t, c.Audit(ctx, "test", "x", ""))
	for _, test := range []struct {
		entries bool
		want    map[string]int
	}{
		{false, map[string]int{"catalog": 1, "job": 1, "volume": 1, "run": 1, "set": 1, "archive": 1, "copy": 1, "sums": 1, "audit": 1}},
		{true, map[string]int{"catalog": 1, "job": 1, "volume": 1, "run": 1, "set": 1, "archive": 1, "copy": 1, "sums": 1, "audit": 1, "entry": len(oddEntries())}},
	} {
		var out bytes.Buffer
		must(t, c.Export(ctx, &out, catalog.ExportOptions{Entries: test.entries}))
		got := map[string]int{}
		for line := range bytes.Lines(out.Bytes()) {
			var object struct{ Type string }
			must(t, json.Unmarshal(line, &object))
			got[object.Type]++
		}
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("exported %v, want %v", got, test.want)
		}
	}
	full := errors.New("pipe closed")
	if err := c.Export(ctx, failing{full}, catalog.ExportOptions{}); !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

var errStopped = errors.New("stopped by the test")

func testCancelled(t *testing.T, open opener) {
	c := open(t)
	set := begin(t, c)
	plan(t, c, set.ID)
	ctx, cancel := context.WithCancelCause(t.Context())
	w := c.NewEntryWriter(ctx, set.ID)
	must(t, w.Add(ctx, []capstan.Entry{file("a", 1)}))
	cancel(errStopped)
	for name, err := range map[string]error{
		"audit": c.Audit(ctx, "a", "b", "c"), "flush": w.Flush(ctx), "close": w.Close(), "status": c.SetStatus(ctx, set.ID, capstan.RunFailed, capstan.Counts{}),
		"set":  func() error { _, err := c.Set(ctx, set.ID); return err }(),
		"lock": func() error { _, err := c.LockJob(ctx, job); return err }(),
		"walk": func() error {
			for _, err := range c.Walk(ctx, set.ID, "") {
				return err
			}
			return nil
		}(),
	} {
		if !errors.Is(err, errStopped) {
			t.Errorf("%s after the end of its context: %v", name, err)
		}
	}
	must(t, c.Audit(t.Context(), "still", "works", ""))
	add(t, c, set.ID, file("b", 1)) // the set's writer was taken off
}

func testWriterMisuse(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := begin(t, c)
	plan(t, c, set.ID)
	w := c.NewEntryWriter(ctx, set.ID)
	second := c.NewEntryWriter(ctx, set.ID)
	if second.Add(ctx, []capstan.Entry{file("a", 1)}) == nil || second.Close() == nil {
		t.Error("a set has two entry writers")
	}
	must(t, w.Add(ctx, []capstan.Entry{file("a", 1)}))
	must(t, w.Add(ctx, nil))
	for range 2 {
		must(t, w.Close())
	}
	if w.Add(ctx, []capstan.Entry{file("b", 1)}) == nil || w.Flush(ctx) == nil {
		t.Error("a closed writer takes entries")
	}
}

// testConcurrentUse adds, commits, reads and beats from many goroutines at once.
func testConcurrentUse(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := begin(t, c)
	run, err := c.BeginRun(ctx, set.ID, job, "backup", noon)
	must(t, err)
	plan(t, c, set.ID)
	w := c.NewEntryWriter(ctx, set.ID)
	const adders, rounds = 4, 60
	var group sync.WaitGroup
	for a := range adders {
		group.Go(func() {
			for i := range rounds {
				batch := []capstan.Entry{file(fmt.Sprintf("d%d/sub%d/file%d", i%7, a, i), 1), dir(fmt.Sprintf("d%d/sub%d", i%7, a), 1)}
				if err := w.Add(ctx, batch); err != nil {
					t.Error(err)
				}
				if i%20 == a {
					if err := w.Flush(ctx); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 3 {
		group.Go(func() {
			for range rounds {
				if err := c.Heartbeat(ctx, run, []byte("{}")); err != nil {
					t.Error(err)
				}
				for _, err := range c.Walk(ctx, set.ID, "") {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
	must(t, w.Close())
	if counts, err := c.CountOutcomes(ctx, set.ID); err != nil || counts.Stored != adders*(rounds+7) {
		t.Errorf("%d entries %v, want %d", counts.Stored, err, adders*(rounds+7))
	}
}
