package catalog_test

import (
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"capstan"
	"capstan/internal/catalog"
)

func testDiscard(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := begin(t, c)
	first, _ := plan(t, c, set.ID), plan(t, c, set.ID)
	plan(t, c, set.ID)
	add(t, c, set.ID,
		dir("d", 1), file("d/a", 1), file("d/b", 2), excluded("d/c"), dir("d/empty", 2),
		dir("d/kept", 2), file("d/kept/x", 1), // its directory came later than it
		dir("d/lost", 2), dir("d/lost/deep", 2), file("d/lost/deep/y", 3),
	)
	commit(t, c, first)
	archives, entries, err := c.DiscardUnsealed(ctx, set.ID)
	if err != nil || archives != 2 || entries != 6 {
		t.Errorf("discarded %d archives, %d entries, %v; want 2 and 6", archives, entries, err)
	}
	requirePaths(t, walk(t, c, set.ID, ""), "d", "d/a", "d/kept/x")
	list, err := c.Children(ctx, set.ID, "d")
	must(t, err)
	requirePaths(t, list, "d/a", "d/kept") // the latter known through what lies in it
	for entry, err := range c.Failures(ctx, set.ID) {
		t.Errorf("left: %v %v", entry, err)
	}
	if copies, err := c.Copies(ctx, set.ID); err != nil || len(copies) != 1 {
		t.Errorf("copies %+v %v", copies, err)
	}
	if archives, entries, err = c.DiscardUnsealed(ctx, set.ID); err != nil || archives != 0 || entries != 0 {
		t.Errorf("again: %d %d %v", archives, entries, err)
	}
	if next := plan(t, c, set.ID); next.Number != 2 {
		t.Errorf("next archive %d, want 2", next.Number)
	}
	commit(t, c, capstan.Archive{Set: set.ID, Number: 2})
	must(t, c.SetStatus(ctx, set.ID, capstan.RunComplete, capstan.Counts{}))
	if _, _, err := c.DiscardUnsealed(ctx, set.ID); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("discarding from a complete set: %v", err)
	}
	if err := c.DropArchive(ctx, set.ID, 1); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("dropping an archive of a complete set: %v", err)
	}
}

func testDropArchive(t *testing.T, open opener) {
	c := open(t)
	set := begin(t, c)
	for range 4 {
		plan(t, c, set.ID)
	}
	add(t, c, set.ID, dir("d", 1), file("d/a", 1), file("d/b", 2), file("d/c", 3), file("d/d", 4))
	for number := range capstan.ArchiveNumber(4) {
		commit(t, c, capstan.Archive{Set: set.ID, Number: number + 1})
	}
	must(t, c.DropArchive(t.Context(), set.ID, 1, 3))
	requirePaths(t, walk(t, c, set.ID, ""), "d/b", "d/d")
	archives, err := c.Archives(t.Context(), set.ID)
	if err != nil || len(archives) != 2 || archives[0].Number != 2 || archives[1].Number != 4 {
		t.Errorf("archives %+v %v", archives, err)
	}
}

// testDiscardSplit loses the archive of a part that is not the last one.
func testDiscardSplit(t *testing.T, open opener) {
	c := open(t)
	set := begin(t, c)
	for range 3 {
		plan(t, c, set.ID)
	}
	add(t, c, set.ID, splitFile("big", 1, 2, 3), splitFile("fine", 1, 3), file("small", 3))
	commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
	commit(t, c, capstan.Archive{Set: set.ID, Number: 3})
	archives, entries, err := c.DiscardUnsealed(t.Context(), set.ID)
	if err != nil || archives != 1 || entries != 1 {
		t.Errorf("discarded %d archives, %d entries, %v; want 1 and 1", archives, entries, err)
	}
	requirePaths(t, walk(t, c, set.ID, ""), "fine", "small")
	add(t, c, set.ID, file("fine", 3)) // no longer split
	must(t, c.DropArchive(t.Context(), set.ID, 1))
	requirePaths(t, walk(t, c, set.ID, ""), "fine", "small")
}

// testUnended seals archives with parts of files of which the end is not sealed.
func testUnended(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	for name, test := range map[string]struct {
		entries []capstan.Entry
		sealed  []int64 // tar entries in each archive
		want    []capstan.ArchiveNumber
	}{
		"none":                      {[]capstan.Entry{file("a", 1), splitFile("big", 1, 2), file("c", 2)}, []int64{2, 2}, nil},
		"it begins behind others":   {[]capstan.Entry{file("a", 1), file("b", 2)}, []int64{1, 2}, []capstan.ArchiveNumber{2}},
		"it goes on":                {[]capstan.Entry{file("a", 1), file("b", 2)}, []int64{1, 2, 1, 1}, []capstan.ArchiveNumber{4, 3, 2}},
		"it begins an archive":      {[]capstan.Entry{file("a", 1)}, []int64{1, 1, 1}, []capstan.ArchiveNumber{3, 2}},
		"it begins where one ended": {[]capstan.Entry{splitFile("big", 1, 2)}, []int64{1, 2, 1}, []capstan.ArchiveNumber{3}},
		"something is not told":     {[]capstan.Entry{file("a", 1), file("b", 2)}, []int64{2, 1}, nil},
	} {
		set := begin(t, c)
		for range test.sealed {
			plan(t, c, set.ID)
		}
		add(t, c, set.ID, test.entries...)
		for i, n := range test.sealed {
			archive := capstan.Archive{Set: set.ID, Number: capstan.ArchiveNumber(i + 1), Size: 1000, TarSize: 2000, Entries: n, Hash: capstan.Hash{1}}
			must(t, c.CommitArchive(ctx, archive, capstan.CopyWritten, []capstan.VolumeID{volume}))
		}
		got, err := c.Unended(ctx, set.ID)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %v %v, want %v", name, got, err, test.want)
		}
	}
}

// testResume interrupts random runs at random places, twice, and compares what
// the catalog holds in the end with what one undisturbed run would have left.
func testResume(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 2))
		set := begin(t, c)
		tree := randomTree(random, 400, 0)
		for attempt := range 3 {
			_, _, err := c.DiscardUnsealed(ctx, set.ID)
			must(t, err)
			stop := len(tree)
			if attempt < 2 {
				stop = random.IntN(len(tree))
			}
			packSome(t, c, set.ID, tree[:stop], random, attempt == 2)
			requireSound(t, c)
		}
		must(t, c.SetStatus(ctx, set.ID, capstan.RunComplete, capstan.Counts{}))
		requirePaths(t, walk(t, c, set.ID, ""), paths(tree)...)
	}
}

// packSome stores entries in archives of random length; what the set's baseline
// holds is unchanged. The last archive is committed only where all is.
func packSome(t *testing.T, c *catalog.Catalog, set capstan.SetID, entries []capstan.Entry, random *rand.Rand, all bool) {
	t.Helper()
	ctx := t.Context()
	next, stop := iter.Pull2(c.Walk(ctx, set, ""))
	defer stop()
	var held capstan.Entry // a scan goes along with it
	more := true
	w := c.NewEntryWriter(ctx, set)
	var archive capstan.Archive
	for i := range entries {
		e := entries[i]
		for more && (held.Path == "" || !held.Outcome.Held() || capstan.ComparePaths(held.Path, e.Path) < 0) {
			var err error
			held, err, more = next()
			must(t, err)
		}
		e.Archive = 0
		if more && held.Path == e.Path && held.Archive != 0 && random.IntN(4) > 0 { // else it is packed again
			e.Archive, e.Outcome = held.Archive, capstan.OutcomeUnchanged
		}
		if e.Archive == 0 {
			if archive.Number == 0 {
				archive = plan(t, c, set)
			}
			e.Archive = archive.Number
		}
		must(t, w.Add(ctx, []capstan.Entry{e}))
		if archive.Number != 0 && random.IntN(40) == 0 {
			commit(t, c, archive)
			archive = capstan.Archive{}
		}
	}
	if archive.Number != 0 && all {
		commit(t, c, archive)
	}
	must(t, w.Close())
}

func testDeleteSet(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	gone, stays := begin(t, c), begin(t, c)
	for _, set := range []capstan.Set{gone, stays} {
		plan(t, c, set.ID)
		plan(t, c, set.ID)
		add(t, c, set.ID, append(randomTree(rand.New(rand.NewPCG(1, 1)), 500, 1), splitFile("zz", 1, 2), excluded("zzz"))...)
		commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
		commit(t, c, capstan.Archive{Set: set.ID, Number: 2})
	}
	before := paths(walk(t, c, stays.ID, ""))
	must(t, c.DeleteSet(ctx, gone.ID))
	if _, err := c.Set(ctx, gone.ID); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("the deleted set: %v", err)
	}
	if err := c.DeleteSet(ctx, gone.ID); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("deleting it again: %v", err)
	}
	requirePaths(t, walk(t, c, stays.ID, ""), before...)
	must(t, c.DeleteSet(ctx, stays.ID))
	if next := begin(t, c); next.ID != "2026-11_000003" {
		t.Errorf("a deleted name is given again: %s", next.ID)
	}
}

// testDeletedWhileRead deletes a set under its readers, which must not take what
// they got for all there was, nor read another set instead.
func testDeletedWhileRead(t *testing.T, open opener) {
	c := open(t)
	for _, read := range []struct {
		name string
		each func(set capstan.SetID, got func(path string)) error
	}{
		{"walk", func(set capstan.SetID, got func(string)) (failed error) {
			for entry, err := range c.Walk(t.Context(), set, "") {
				if failed = err; err == nil {
					got(entry.Path)
				}
			}
			return failed
		}},
		{"find", func(set capstan.SetID, got func(string)) (failed error) {
			for found, err := range c.Find(t.Context(), findIn(set, "*")) {
				if failed = err; err == nil {
					got(found.Entry.Path)
				}
			}
			return failed
		}},
		{"find paths", func(set capstan.SetID, got func(string)) (failed error) {
			for found, err := range c.Find(t.Context(), findIn(set, "d/**")) {
				if failed = err; err == nil {
					got(found.Entry.Path)
				}
			}
			return failed
		}},
	} {
		set := begin(t, c)
		plan(t, c, set.ID)
		add(t, c, set.ID, filledArchive(1)...)
		add(t, c, set.ID, dir("d", 1), file("d/a", 1), file("d/b", 1))
		commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
		deleted := false
		err := read.each(set.ID, func(path string) {
			if path == "strange" {
				t.Errorf("%s read another set", read.name)
			}
			if !deleted {
				deleted = true
				must(t, c.DeleteSet(t.Context(), set.ID))
				other := begin(t, c)
				plan(t, c, other.ID)
				add(t, c, other.ID, file("strange", 1), file("d/strange", 1), file("d00001/strange", 1))
				commit(t, c, capstan.Archive{Set: other.ID, Number: 1})
			}
		})
		if !deleted || !errors.Is(err, capstan.ErrNotFound) {
			t.Errorf("%s of a set that is deleted meanwhile ends with %v", read.name, err)
		}
	}
}

func testFinishedSet(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := begin(t, c)
	plan(t, c, set.ID)
	w := c.NewEntryWriter(ctx, set.ID)
	must(t, w.Add(ctx, []capstan.Entry{file("a", 1)}))
	if _, _, err := c.DiscardUnsealed(ctx, set.ID); err == nil {
		t.Error("entries were discarded under an open writer")
	}
	commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
	must(t, w.Close())
	must(t, c.SetStatus(ctx, set.ID, capstan.RunComplete, capstan.Counts{}))
	w = c.NewEntryWriter(ctx, set.ID)
	must(t, w.Add(ctx, []capstan.Entry{file("b", 1)}))
	if err := w.Close(); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("a complete set got another entry: %v", err)
	}
	requirePaths(t, walk(t, c, set.ID, ""), "a")
}
