package catalog_test

import (
	"bytes"
	"context"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
)

// opener makes an empty catalog of one kind for a test.
type opener func(t *testing.T) *catalog.Catalog

// suite is what every catalog must do, whatever database it is kept in.
var suite = []struct {
	name string
	test func(t *testing.T, open opener)
}{
	{"Jobs", testJobs},
	{"Volumes", testVolumes},
	{"Sums", testSums},
	{"Audit", testAudit},
	{"SetNumbers", testSetNumbers},
	{"SetStatus", testSetStatus},
	{"SetList", testSetList},
	{"Runs", testRuns},
	{"Archives", testArchives},
	{"Recipients", testRecipients},
	{"Rotation", testRotation},
	{"Queue", testQueue},
	{"QueueRetries", testQueueRetries},
	{"QueueGivenUp", testQueueGivenUp},
	{"Demand", testDemand},
	{"DemandMet", testDemandMet},
	{"DemandAbandoned", testDemandAbandoned},
	{"Awaited", testAwaited},
	{"DemandsOfOtherSets", testDemandsGo},
	{"DemandImported", testDemandImported},
	{"StaleFence", testStaleFence},
	{"Stages", testStages},
	{"Entries", testEntries},
	{"EntriesInAnyOrder", testAnyOrder},
	{"EntriesAgain", testEntriesAgain},
	{"EntriesSplit", testSplit},
	{"EntriesRefused", testRefused},
	{"HiddenUntilCommitted", testHidden},
	{"Outcomes", testOutcomes},
	{"Implied", testImplied},
	{"WalkOrder", testWalkOrder},
	{"WalkScattered", testWalkScattered},
	{"WalkDeepAndWide", testWalkDeepAndWide},
	{"Find", testFind},
	{"Discard", testDiscard},
	{"DropArchive", testDropArchive},
	{"DiscardSplit", testDiscardSplit},
	{"Unended", testUnended},
	{"Resume", testResume},
	{"DeleteSet", testDeleteSet},
	{"DeletedWhileRead", testDeletedWhileRead},
	{"Retention", testRetention},
	{"Release", testRelease},
	{"Consolidated", testConsolidated},
	{"Pins", testPins},
	{"Drills", testDrills},
	{"Forgotten", testForgotten},
	{"ImportForgotten", testImportForgotten},
	{"Import", testImport},
	{"Export", testExport},
	{"Cancelled", testCancelled},
	{"WriterMisuse", testWriterMisuse},
	{"FinishedSet", testFinishedSet},
	{"ConcurrentUse", testConcurrentUse},
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	for _, part := range suite {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.test(t, openSQLite)
		})
	}
}

func openSQLite(t *testing.T) *catalog.Catalog {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "catalog.db"), catalog.Options{})
}

// openAt opens a catalog that is checked and closed when the test ends.
func openAt(t *testing.T, path string, opts catalog.Options) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		requireSound(t, c)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func requireSound(t *testing.T, c *catalog.Catalog) {
	t.Helper()
	problems, err := c.Check(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Error(err)
	}
	for _, problem := range problems {
		t.Errorf("catalog check: %s", problem)
	}
}

const (
	job    capstan.JobKey   = "nightly"
	volume capstan.VolumeID = "0b2d7a3e-0000-4000-8000-000000000001"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// begin makes a set of the job, on the volume.
func begin(t *testing.T, c *catalog.Catalog) capstan.Set {
	t.Helper()
	must(t, c.EnsureVolume(t.Context(), capstan.VolumeInfo{ID: volume, Kind: "dir", Location: "/mnt/disk", Created: noon}))
	must(t, c.EnsureJob(t.Context(), job, "nightly", []string{"/srv/data"}, []string{"/mnt/disk"}))
	set, err := c.BeginSet(t.Context(), job, "host", capstan.CodecZstd, []string{"/srv/data"}, noon)
	must(t, err)
	return set
}

// plan plans the next archive of a set.
func plan(t *testing.T, c *catalog.Catalog, set capstan.SetID) capstan.Archive {
	t.Helper()
	archive, err := c.PlanArchive(t.Context(), set, capstan.CodecZstd, volume)
	must(t, err)
	return archive
}

// commit commits an archive with made-up content.
func commit(t *testing.T, c *catalog.Catalog, archive capstan.Archive) {
	t.Helper()
	archive.Size, archive.TarSize, archive.Entries = 1000, 2000, 1<<30
	archive.Hash = capstan.Hash{byte(archive.Number), 1}
	must(t, c.CommitArchive(t.Context(), archive, capstan.CopyWritten, []capstan.VolumeID{volume}))
}

// add writes entries through a writer of their own.
func add(t *testing.T, c *catalog.Catalog, set capstan.SetID, entries ...capstan.Entry) {
	t.Helper()
	w := c.NewEntryWriter(t.Context(), set)
	must(t, w.Add(t.Context(), entries))
	must(t, w.Close())
}

// file is a stored file in an archive.
func file(path string, archive capstan.ArchiveNumber) capstan.Entry {
	return capstan.Entry{
		Path: path, Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Mode: 0o644, UID: 10, GID: 20, User: "u", Group: "g",
		ModTime: noon, ChangeTime: noon.Add(time.Second), Dev: 1, Ino: 2, Links: 1, Size: int64(len(path)),
		Hash: capstan.Hash{1, 2, byte(len(path))}, Location: capstan.Location{Archive: archive, Offset: 512, Size: int64(len(path))},
	}
}

func dir(path string, archive capstan.ArchiveNumber) capstan.Entry {
	return capstan.Entry{
		Path: path, Kind: capstan.KindDir, Outcome: capstan.OutcomeStored, Mode: 0o755, Links: 2, ModTime: noon,
		Location: capstan.Location{Archive: archive, Offset: 1024},
	}
}

// excluded is an entry that no archive holds.
func excluded(path string) capstan.Entry {
	return capstan.Entry{Path: path, Kind: capstan.KindFile, Outcome: capstan.OutcomeExcluded, Reason: "a rule", Links: 1}
}

// walk collects what Walk yields.
func walk(t *testing.T, c *catalog.Catalog, set capstan.SetID, root string) []capstan.Entry {
	t.Helper()
	var entries []capstan.Entry
	for entry, err := range c.Walk(t.Context(), set, root) {
		must(t, err)
		entries = append(entries, entry)
	}
	return entries
}

func paths(entries []capstan.Entry) []string {
	list := make([]string, len(entries))
	for i := range entries {
		list[i] = entries[i].Path
	}
	return list
}

func requirePaths(t *testing.T, entries []capstan.Entry, want ...string) {
	t.Helper()
	if got := paths(entries); !slices.Equal(got, want) {
		t.Fatalf("paths %q, want %q", got, want)
	}
}

// requireSame compares what the catalog gave with what it was given.
func requireSame(t *testing.T, got, want capstan.Entry) {
	t.Helper()
	for _, e := range []*capstan.Entry{&got, &want} {
		e.Host = ""
		e.ModTime, e.ChangeTime = e.ModTime.UTC(), e.ChangeTime.UTC()
		for i := range e.Xattrs {
			e.Xattrs[i].Value = bytes.Clone(e.Xattrs[i].Value)
			if len(e.Xattrs[i].Value) == 0 {
				e.Xattrs[i].Value = nil
			}
		}
		if len(e.Data) == 0 {
			e.Data = nil
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("entry is\n%+v, want\n%+v", got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
