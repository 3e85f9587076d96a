package catalog_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"capstan"
)

// oddEntries are entries with every attribute, at its limits.
func oddEntries() []capstan.Entry {
	everything := capstan.Entry{
		Path: "d/\xff\xfe\n name", Kind: capstan.KindFile, Outcome: capstan.OutcomeChanged, Reason: "grew \xff",
		Mode: 0o7777, UID: math.MaxUint32, GID: math.MaxUint32, User: "us\xffer", Group: "группа",
		ModTime: time.Unix(-3_000_000_000, 999_999_999), ChangeTime: time.Unix(253_402_300_800, 1),
		Dev: math.MaxUint64, Ino: math.MaxUint64, Links: math.MaxUint32, Size: math.MaxInt64,
		Xattrs: []capstan.Xattr{{Name: "security.selinux", Value: []byte("x\x00y")}, {Name: "user.empty"}, {Name: "user.\xff=", Value: make([]byte, 70_000)}},
		ACL:    "user::rw-,user:1000:r--,group::r--,mask::r--,other::---", Sparse: true,
		Data: []capstan.Extent{{Offset: 0, Length: 4096}, {Offset: 1 << 40, Length: 1}}, Hash: capstan.Hash{31: 0xff},
		Location: capstan.Location{Archive: 1, Offset: 1 << 41, Size: 4097}, Host: "/srv/d/x",
	}
	return []capstan.Entry{
		dir("d", 1), everything,
		{Path: "d/blk", Kind: capstan.KindBlkDevice, Outcome: capstan.OutcomeStored, Links: 1, Major: 8, Minor: math.MaxUint32, Location: capstan.Location{Archive: 1}},
		{Path: "d/dir", Kind: capstan.KindDir, Outcome: capstan.OutcomeStored, Links: 2, DefaultACL: "user::rwx", Mode: 0o1777, ModTime: time.Unix(1<<60, 7), ChangeTime: time.Unix(-1<<60, 7)},
		{Path: "d/far", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, ModTime: time.Unix(math.MaxInt64, 5), ChangeTime: time.Unix(math.MinInt64, 6), Size: 9, Location: capstan.Location{Archive: 1, Offset: 1, Size: 3}},
		{Path: "d/hard", Kind: capstan.KindHardlink, Outcome: capstan.OutcomeStored, Links: 2, Link: "d/\xff\xfe\n name", Size: 5, Location: capstan.Location{Archive: 1, Offset: 5}},
		{Path: "d/hole", Kind: capstan.KindFile, Outcome: capstan.OutcomeUnchanged, Links: 1, Size: 1 << 30, Sparse: true, Location: capstan.Location{Archive: 1, Offset: 6}},
		{Path: "d/link", Kind: capstan.KindSymlink, Outcome: capstan.OutcomeStored, Links: 1, Link: "../\xff", ModTime: time.Unix(0, 0), Location: capstan.Location{Archive: 1, Offset: 7}},
		{Path: "d/nothing", Kind: capstan.KindSocket, Outcome: capstan.OutcomeExcluded},
		{Path: "d/unread", Kind: capstan.KindFile, Outcome: capstan.OutcomeFailed, Reason: "input/output error", Links: 1, Size: 12},
		{Path: "e", Kind: capstan.KindFifo, Outcome: capstan.OutcomeStored, Links: 1, ModTime: noon, ChangeTime: noon, Location: capstan.Location{Archive: 1, Offset: 8}},
	}
}

func testEntries(t *testing.T, open opener) {
	c := open(t)
	set := begin(t, c)
	archive := plan(t, c, set.ID)
	entries := oddEntries()
	add(t, c, set.ID, entries...)
	commit(t, c, archive)
	slices.SortFunc(entries, func(a, b capstan.Entry) int { return capstan.ComparePaths(a.Path, b.Path) })
	got := walk(t, c, set.ID, "")
	requirePaths(t, got, paths(entries)...)
	for i := range entries {
		requireSame(t, got[i], entries[i])
		one, found, err := c.Entry(t.Context(), set.ID, entries[i].Path)
		must(t, err)
		if !found {
			t.Fatalf("%q is not found", entries[i].Path)
		}
		requireSame(t, one, entries[i])
	}
	top, err := c.Children(t.Context(), set.ID, "")
	must(t, err)
	requirePaths(t, top, "d", "e")
	inside, err := c.Children(t.Context(), set.ID, "d")
	must(t, err)
	requirePaths(t, inside, paths(got)[1:len(got)-1]...)
	for _, path := range []string{"", "x", "d/x", "d/blk/x", "d/", "/d", "e/x"} {
		if _, found, err := c.Entry(t.Context(), set.ID, path); err != nil || found {
			t.Errorf("entry %q: %t %v", path, found, err)
		}
	}
	for _, path := range []string{"x", "d/blk", "d/nothing/more"} {
		if list, err := c.Children(t.Context(), set.ID, path); err != nil || len(list) != 0 {
			t.Errorf("children of %q: %q %v", path, paths(list), err)
		}
	}
	if _, _, err := c.Entry(t.Context(), "2026-11_000077", "d"); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("entry of an unknown set: %v", err)
	}
}

// testAnyOrder adds a tree in random order, so that entries come before their
// directories, which are then known only through them.
func testAnyOrder(t *testing.T, open opener) {
	for seed := range uint64(8) {
		c := open(t)
		set := begin(t, c)
		plan(t, c, set.ID)
		random := rand.New(rand.NewPCG(seed, 3))
		entries := randomTree(random, 300, 1)
		shuffled := slices.Clone(entries)
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		w := c.NewEntryWriter(t.Context(), set.ID)
		for chunk := range slices.Chunk(shuffled, 1+random.IntN(60)) {
			must(t, w.Add(t.Context(), chunk))
			if random.IntN(3) == 0 {
				must(t, w.Flush(t.Context()))
			}
		}
		must(t, w.Close())
		commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
		requirePaths(t, walk(t, c, set.ID, ""), paths(entries)...)
		requireSound(t, c)
	}
}

func testEntriesAgain(t *testing.T, open opener) {
	c := open(t)
	set := begin(t, c)
	first, second := plan(t, c, set.ID), plan(t, c, set.ID)
	w := c.NewEntryWriter(t.Context(), set.ID)
	must(t, w.Add(t.Context(), []capstan.Entry{dir("d", 1), file("d/a", 1), excluded("d/b"), file("d/c", 1), dir("d/e", 1), file("d/e/f", 1)}))
	must(t, w.Add(t.Context(), []capstan.Entry{file("d/a", 1)})) // the same batch holds it twice
	must(t, w.Flush(t.Context()))
	again := file("d/a", 2)
	again.Size, again.Outcome, again.Reason = 77, capstan.OutcomeChanged, "it grew"
	gone := capstan.Entry{Path: "d/c", Kind: capstan.KindFile, Outcome: capstan.OutcomeDeleted}
	must(t, w.Add(t.Context(), []capstan.Entry{again, file("d/b", 2), gone, dir("d/e", 2), dir("d", 2)}))
	must(t, w.Close())
	commit(t, c, first)
	commit(t, c, second)
	got := walk(t, c, set.ID, "")
	requirePaths(t, got, "d", "d/a", "d/b", "d/c", "d/e", "d/e/f")
	requireSame(t, got[1], again)
	requireSame(t, got[2], file("d/b", 2))
	requireSame(t, got[3], gone)
	requireSame(t, got[4], dir("d/e", 2))
	var notable []capstan.Entry
	for entry, err := range c.Failures(t.Context(), set.ID) {
		must(t, err)
		notable = append(notable, entry)
	}
	requirePaths(t, notable, "d/a")

	// A directory became a file, and what lay in it is still listed as deleted.
	swap := []capstan.Entry{file("d/e", 2), {Path: "d/e/f", Kind: capstan.KindFile, Outcome: capstan.OutcomeDeleted}}
	add(t, c, set.ID, swap...)
	got = walk(t, c, set.ID, "d/e")
	requirePaths(t, got, "d/e", "d/e/f")
	requireSame(t, got[0], swap[0])
}

func testSplit(t *testing.T, open opener) {
	c := open(t)
	set := begin(t, c)
	archives := []capstan.Archive{plan(t, c, set.ID), plan(t, c, set.ID), plan(t, c, set.ID)}
	split := splitFile("big", 1, 2, 3)
	add(t, c, set.ID, file("a", 1), split)
	commit(t, c, archives[0])
	commit(t, c, archives[2])
	requirePaths(t, walk(t, c, set.ID, ""), "a") // the middle part is not yet durable
	commit(t, c, archives[1])
	got := walk(t, c, set.ID, "")
	requirePaths(t, got, "a", "big")
	requireSame(t, got[1], split)
}

// splitFile is a file with a part in each of the archives.
func splitFile(path string, archives ...capstan.ArchiveNumber) capstan.Entry {
	e := file(path, archives[0])
	e.Size = 100 * int64(len(archives))
	for i, number := range archives {
		e.Parts = append(e.Parts, capstan.Part{
			Location: capstan.Location{Archive: number, Offset: int64(i) * 512, Size: 100}, Start: int64(i) * 100, Length: 100,
		})
	}
	e.Location = e.Parts[0].Location
	return e
}

func testRefused(t *testing.T, open opener) {
	c := open(t)
	set := begin(t, c)
	plan(t, c, set.ID)
	for _, path := range []string{"", "/", "/a", "a/", "a//b", ".", "a/./b", "../a", "a/.."} {
		w := c.NewEntryWriter(t.Context(), set.ID)
		err := w.Add(t.Context(), []capstan.Entry{file("fine", 1), file(path, 1)})
		if err == nil || w.Flush(t.Context()) == nil || w.Close() == nil {
			t.Errorf("path %q was taken", path)
		}
	}
	for name, entry := range map[string]capstan.Entry{
		"no kind": {Path: "a", Outcome: capstan.OutcomeStored}, "no outcome": {Path: "a", Kind: capstan.KindFile},
	} {
		w := c.NewEntryWriter(t.Context(), set.ID)
		if w.Add(t.Context(), []capstan.Entry{entry}) == nil {
			t.Errorf("an entry with %s was taken", name)
		}
		w.Close()
	}
	w := c.NewEntryWriter(t.Context(), set.ID)
	must(t, w.Add(t.Context(), []capstan.Entry{file("a", 9)}))
	if err := w.Flush(t.Context()); err == nil {
		t.Error("an entry in an archive that is not planned was taken")
	}
	w.Close()
	if got := walk(t, c, set.ID, ""); len(got) != 0 {
		t.Errorf("left behind: %q", paths(got))
	}
	w = c.NewEntryWriter(t.Context(), "2026-11_000055")
	must(t, w.Add(t.Context(), []capstan.Entry{file("a", 1)}))
	if err := w.Close(); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("entries of an unknown set: %v", err)
	}
}

// testHidden looks at a set through every reader while an archive is not committed.
func testHidden(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := begin(t, c)
	first, second := plan(t, c, set.ID), plan(t, c, set.ID)
	w := c.NewEntryWriter(ctx, set.ID)
	must(t, w.Add(ctx, []capstan.Entry{dir("d", 1), file("d/a", 1), file("d/b", 2), excluded("d/c"), dir("d/e", 2), file("d/e/x", 2)}))
	commit(t, c, first) // takes what was added along, in one transaction
	requirePaths(t, walk(t, c, set.ID, ""), "d", "d/a", "d/c")
	if _, found, err := c.Entry(ctx, set.ID, "d/b"); err != nil || found {
		t.Errorf("an entry of an archive that is not committed is found: %t %v", found, err)
	}
	if counts, err := c.CountOutcomes(ctx, set.ID); err != nil || counts.Stored != 2 || counts.Excluded != 1 {
		t.Errorf("counts %+v %v", counts, err)
	}
	for found, err := range c.Find(ctx, findIn(set.ID, "[bx]")) {
		t.Errorf("found %v %v", found, err)
	}
	commit(t, c, second)
	requirePaths(t, walk(t, c, set.ID, ""), "d", "d/a", "d/b", "d/c", "d/e", "d/e/x")
	must(t, w.Close())
}

func testOutcomes(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := begin(t, c)
	archive := plan(t, c, set.ID)
	changed, unchanged := file("d/changed", 1), file("d/unchanged", 1)
	changed.Outcome, unchanged.Outcome = capstan.OutcomeChanged, capstan.OutcomeUnchanged
	entries := []capstan.Entry{
		dir("d", 1), changed, excluded("d/excluded"),
		{Path: "d/failed", Kind: capstan.KindFile, Outcome: capstan.OutcomeFailed, Reason: "unreadable", Size: 1000},
		{Path: "d/failed-too", Kind: capstan.KindDir, Outcome: capstan.OutcomeFailed, Reason: "cannot be listed"},
		{Path: "d/gone", Kind: capstan.KindFile, Outcome: capstan.OutcomeVanished},
		{Path: "d/old", Kind: capstan.KindFile, Outcome: capstan.OutcomeDeleted, Size: 1 << 40},
		file("d/stored", 1), unchanged,
	}
	add(t, c, set.ID, entries...)
	commit(t, c, archive)
	want := capstan.Counts{BytesOut: 1000}
	for i := range entries {
		want.Count(&entries[i])
	}
	if got, err := c.CountOutcomes(ctx, set.ID); err != nil || got != want {
		t.Errorf("counts %+v %v, want %+v", got, err, want)
	}
	var notable []capstan.Entry
	for entry, err := range c.Failures(ctx, set.ID) {
		must(t, err)
		notable = append(notable, entry)
	}
	requirePaths(t, notable, "d/failed", "d/failed-too", "d/changed", "d/gone", "d/excluded")
	if notable[0].Reason != "unreadable" {
		t.Errorf("reason %q", notable[0].Reason)
	}
	for entry, err := range c.Notable(ctx, set.ID, capstan.OutcomeDeleted) {
		must(t, err)
		requireSame(t, entry, entries[6])
	}
	for _, err := range c.Notable(ctx, set.ID, capstan.OutcomeStored) {
		if err == nil {
			t.Error("stored entries are listed by outcome")
		}
	}
}

func testImplied(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := begin(t, c)
	plan(t, c, set.ID)
	add(t, c, set.ID, dir("d", 1), file("d/a", 1), file("implied/x", 1))
	commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
	implied, found, err := c.Entry(ctx, set.ID, "implied")
	if err != nil || !found || implied.Outcome != 0 || implied.Kind != capstan.KindDir {
		t.Errorf("an implied directory: %+v %t %v", implied, found, err)
	}
	top, err := c.Children(ctx, set.ID, "")
	must(t, err)
	requirePaths(t, top, "d", "implied")
	requirePaths(t, walk(t, c, set.ID, "implied"), "implied/x")
}
