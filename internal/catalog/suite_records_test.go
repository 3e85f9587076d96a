package catalog_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
)

func testJobs(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	odd := "/srv/\xff\xfe\n"
	must(t, c.EnsureJob(ctx, "b", "b", []string{"/srv/b", odd}, []string{"/mnt"}))
	must(t, c.EnsureJob(ctx, "adhoc-1", "", nil, nil))
	for range 2 {
		must(t, c.EnsureJob(ctx, "b", "better", []string{odd}, []string{"/mnt", "/mnt2"}))
	}
	jobs, err := c.Jobs(ctx)
	must(t, err)
	want := []catalog.Job{
		{Key: "adhoc-1", Sources: []string{}, Volumes: []string{}},
		{Key: "b", Name: "better", Sources: []string{odd}, Volumes: []string{"/mnt", "/mnt2"}},
	}
	if !reflect.DeepEqual(jobs, want) {
		t.Errorf("jobs %+v, want %+v", jobs, want)
	}
}

func testVolumes(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	first := capstan.VolumeInfo{ID: "v1", Kind: "dir", Location: "/mnt/\xff", Created: noon}
	second := capstan.VolumeInfo{ID: "v2", Kind: "dir", Location: "/mnt/other", Created: noon.Add(time.Hour)}
	must(t, c.EnsureVolume(ctx, first))
	must(t, c.EnsureVolume(ctx, second))
	if got, found, err := c.VolumeByLocation(ctx, first.Location); err != nil || !found || got != first {
		t.Errorf("volume by location: %+v %t %v", got, found, err)
	}
	// The disk at a mount point was changed for another, which was elsewhere before.
	second.Location = first.Location
	must(t, c.EnsureVolume(ctx, second))
	if got, _, err := c.VolumeByLocation(ctx, first.Location); err != nil || got.ID != "v2" {
		t.Errorf("after the change %+v %v, want v2", got, err)
	}
	must(t, c.EnsureVolume(ctx, first))
	if got, _, err := c.VolumeByLocation(ctx, first.Location); err != nil || got.ID != "v1" {
		t.Errorf("after the change back %+v %v, want v1", got, err)
	}
	// It may be an empty mount point now: the volume is still expected there.
	if got, found, err := c.VolumeByLocation(ctx, "/mnt/other"); err != nil || !found || got.ID != "v2" {
		t.Errorf("a location that a volume left: %+v %t %v", got, found, err)
	}
	if got, err := c.Volume(ctx, "v2"); err != nil || got != second {
		t.Errorf("volume v2: %+v %v", got, err)
	}
	if _, err := c.Volume(ctx, "v3"); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("unknown volume: %v", err)
	}
	if all, err := c.Volumes(ctx); err != nil || len(all) != 2 || all[0] != first {
		t.Errorf("volumes %+v %v", all, err)
	}
	if err := c.EnsureVolume(ctx, capstan.VolumeInfo{}); err == nil {
		t.Error("a volume without id was recorded")
	}
}

func testSums(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	last := func(volume capstan.VolumeID, but capstan.SetID) string {
		set, sum, err := c.LastSums(ctx, volume, but)
		must(t, err)
		return fmt.Sprintf("%s %x", set, sum[0])
	}
	if got := last("v", "s1"); got != " 0" {
		t.Errorf("without sums: %q", got)
	}
	must(t, c.SetSums(ctx, "s1", "v", capstan.Hash{1}))
	must(t, c.SetSums(ctx, "s2", "v", capstan.Hash{2}))
	must(t, c.SetSums(ctx, "s2", "v", capstan.Hash{2})) // a repetition
	must(t, c.SetSums(ctx, "s9", "w", capstan.Hash{9}))
	for _, test := range []struct {
		volume capstan.VolumeID
		but    capstan.SetID
		want   string
	}{{"v", "s3", "s2 2"}, {"v", "s2", "s1 1"}, {"v", "", "s2 2"}, {"w", "s1", "s9 9"}, {"w", "s9", " 0"}} {
		if got := last(test.volume, test.but); got != test.want {
			t.Errorf("last sums of %s but %s: %q, want %q", test.volume, test.but, got, test.want)
		}
	}
}

func testAudit(t *testing.T, open opener) {
	c := open(t)
	for i := range 3 {
		must(t, c.Audit(t.Context(), "erase", fmt.Sprintf("tape %d", i), "by hand"))
	}
	n := 0
	for line, err := range c.AuditLog(t.Context()) {
		must(t, err)
		if line.Number != int64(n+1) || line.Object != fmt.Sprintf("tape %d", n) || line.Time.IsZero() {
			t.Errorf("line %d is %+v", n, line)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d lines, want 3", n)
	}
}

func testSetNumbers(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	first := begin(t, c)
	if first.ID != "2026-11_000001" || first.Status != capstan.RunRunning || !first.Started.Equal(noon) {
		t.Errorf("first set %+v", first)
	}
	second := begin(t, c)
	if second.ID != "2026-11_000002" {
		t.Errorf("second set %s", second.ID)
	}
	must(t, c.SkipSet(ctx, second.ID))
	if third := begin(t, c); third.ID != "2026-11_000003" {
		t.Errorf("after a skipped name: %s", third.ID)
	}
	plan(t, c, first.ID)
	if err := c.SkipSet(ctx, first.ID); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("a set with an archive was skipped: %v", err)
	}
	if err := c.SkipSet(ctx, second.ID); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a skipped set is skipped again: %v", err)
	}
	december, err := c.BeginSet(ctx, job, "host", capstan.CodecZstd, nil, noon.AddDate(0, 1, 0))
	if err != nil || december.ID != "2026-12_000001" {
		t.Errorf("next month %s %v", december.ID, err)
	}
	if _, err := c.BeginSet(ctx, "nobody", "host", capstan.CodecZstd, nil, noon); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a set of an unknown job: %v", err)
	}
	must(t, c.BuildOn(ctx, first.ID, "2026-10_000004")) // which this catalog need not know
	if err := c.BuildOn(ctx, second.ID, first.ID); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a base for a set that is not there: %v", err)
	}
	got, err := c.Set(ctx, first.ID)
	must(t, err)
	if got.Base != "2026-10_000004" || got.Job != job || got.Host != "host" || got.Codec != capstan.CodecZstd || !reflect.DeepEqual(got.Sources, []string{"/srv/data"}) || !got.Started.Equal(noon) || !got.Finished.IsZero() {
		t.Errorf("set %+v", got)
	}
	if _, err := c.Set(ctx, "2026-11_000099"); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("an unknown set: %v", err)
	}
}

func testSetStatus(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := begin(t, c)
	counts := capstan.Counts{Entries: 9, Stored: 1, Changed: 2, Unchanged: 3, Excluded: 1, Vanished: 1, Failed: 1, Deleted: 7, BytesIn: 8, BytesOut: 9}
	archive := plan(t, c, set.ID)
	if err := c.SetStatus(ctx, set.ID, capstan.RunComplete, counts); err == nil {
		t.Error("a set is complete whose archive is not committed")
	}
	must(t, c.SetStatus(ctx, set.ID, capstan.RunInterrupted, capstan.Counts{Entries: 1}))
	if open, err := c.OpenSets(ctx, job); err != nil || len(open) != 1 || open[0].ID != set.ID {
		t.Errorf("unfinished sets %+v %v", open, err)
	}
	commit(t, c, archive)
	must(t, c.SetStatus(ctx, set.ID, capstan.RunPartial, counts))
	got, err := c.Set(ctx, set.ID)
	must(t, err)
	if got.Status != capstan.RunPartial || got.Counts != counts || got.Finished.IsZero() {
		t.Errorf("set %+v", got)
	}
	if open, err := c.OpenSets(ctx, job); err != nil || len(open) != 0 {
		t.Errorf("unfinished sets %+v %v", open, err)
	}
	if _, err := c.PlanArchive(ctx, set.ID, capstan.CodecZstd, volume); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("a finished set got another archive: %v", err)
	}
	if err := c.SetStatus(ctx, "2026-11_000099", capstan.RunFailed, counts); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("an unknown set: %v", err)
	}
}

func testSetList(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	if _, err := c.Latest(ctx, ""); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("latest of none: %v", err)
	}
	must(t, c.EnsureJob(ctx, "other", "", nil, nil))
	first, second := begin(t, c), begin(t, c)
	for range 2 {
		commit(t, c, plan(t, c, first.ID))
	}
	plan(t, c, second.ID)
	must(t, c.SetCopy(ctx, first.ID, 2, volume, capstan.CopyDamaged, "bits", noon))
	must(t, c.SetStatus(ctx, first.ID, capstan.RunComplete, capstan.Counts{Entries: 5}))
	other, err := c.BeginSet(ctx, "other", "host", capstan.CodecNone, nil, noon)
	must(t, err)
	must(t, c.SetStatus(ctx, other.ID, capstan.RunPartial, capstan.Counts{}))

	sets, err := c.Sets(ctx, catalog.SetFilter{Job: job})
	must(t, err)
	if len(sets) != 2 || sets[0].ID != second.ID || sets[0].Archives != 0 || sets[0].Copies[0].States[capstan.CopyPacking] != 1 {
		t.Errorf("sets %+v", sets)
	}
	want := []catalog.SetCopies{{Volume: volume, States: map[capstan.CopyState]int{capstan.CopyWritten: 1, capstan.CopyDamaged: 1}}}
	if s := sets[1]; s.Archives != 2 || s.Size != 2000 || s.Counts.Entries != 5 || !reflect.DeepEqual(s.Copies, want) {
		t.Errorf("first set %+v", s)
	}
	if all, err := c.Sets(ctx, catalog.SetFilter{Limit: 1}); err != nil || len(all) != 1 || all[0].ID != other.ID {
		t.Errorf("the newest set %+v %v", all, err)
	}
	latest := func(job capstan.JobKey) capstan.SetID {
		set, err := c.Latest(ctx, job)
		if err != nil && !errors.Is(err, capstan.ErrNotFound) {
			t.Fatal(err)
		}
		return set.ID
	}
	if latest("") != other.ID || latest(job) != first.ID {
		t.Errorf("latest %s, of the job %s", latest(""), latest(job))
	}
	letGo(t, c, first.ID)
	if got := latest(job); got != "" {
		t.Errorf("a forgotten set is the latest: %s", got)
	}
	copies, err := c.Copies(ctx, first.ID)
	must(t, err)
	if len(copies) != 2 || copies[0].State != capstan.CopyForgotten || copies[1].State != capstan.CopyForgotten {
		t.Errorf("copies of a forgotten set %+v", copies)
	}
}

func testRuns(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := begin(t, c)
	id, err := c.BeginRun(ctx, set.ID, job, "backup", noon)
	must(t, err)
	second, err := c.BeginRun(ctx, "", job, "verify", noon)
	must(t, err)
	if id != 1 || second != 2 {
		t.Errorf("runs %d and %d, want 1 and 2", id, second)
	}
	must(t, c.Heartbeat(ctx, id, []byte(`{"bytes":1}`)))
	if asked, err := c.CancelRequested(ctx, id); err != nil || asked.Asked() {
		t.Errorf("cancel requested before: %+v %v", asked, err)
	}
	must(t, c.RequestCancel(ctx, id, "me on here"))
	must(t, c.RequestCancel(ctx, id, "somebody later"))
	if asked, err := c.CancelRequested(ctx, id); err != nil || !asked.Asked() || asked.By != "me on here" {
		t.Errorf("cancel requested: %+v %v", asked, err)
	}
	run, err := c.Run(ctx, id)
	must(t, err)
	if run.Set != set.ID || run.Process.PID != os.Getpid() || c.Gone(run) || run.Kind != "backup" || string(run.Progress) != `{"bytes":1}` || run.Cancel.By != "me on here" || !run.Started.Equal(noon) || run.Beat.IsZero() {
		t.Errorf("run %+v", run)
	}
	running, err := c.Runs(ctx, catalog.RunFilter{Job: job, Running: true, Limit: 1})
	if err != nil || len(running) != 1 || running[0].ID != second {
		t.Errorf("the newest run that runs: %+v %v", running, err)
	}
	if n, err := c.InterruptRuns(ctx, job, "verify", "restore"); err != nil || n != 1 {
		t.Errorf("interrupted %d %v, want 1", n, err)
	}
	if marked, err := c.InterruptRun(ctx, id); err != nil || marked {
		t.Errorf("a run that lives was marked: %t %v", marked, err)
	}
	counts := capstan.Counts{Entries: 3, Failed: 1}
	must(t, c.FinishRun(ctx, id, capstan.RunPartial, counts, []byte(`{"type":"summary"}`)))
	run, err = c.Run(ctx, id)
	must(t, err)
	if run.Status != capstan.RunPartial || run.Counts != counts || string(run.Summary) != `{"type":"summary"}` || run.Finished.IsZero() {
		t.Errorf("finished run %+v", run)
	}
	for _, test := range []struct {
		filter catalog.RunFilter
		want   int
	}{{catalog.RunFilter{}, 2}, {catalog.RunFilter{Set: set.ID}, 1}, {catalog.RunFilter{Set: set.ID, Job: "no"}, 0}, {catalog.RunFilter{Running: true}, 0}, {catalog.RunFilter{Limit: 1}, 1}} {
		if runs, err := c.Runs(ctx, test.filter); err != nil || len(runs) != test.want {
			t.Errorf("%+v gives %d runs %v, want %d", test.filter, len(runs), err, test.want)
		}
	}
	for _, err := range []error{
		c.Heartbeat(ctx, 99, nil), c.RequestCancel(ctx, 99, ""), c.FinishRun(ctx, 99, capstan.RunFailed, counts, nil),
		func() error { _, err := c.Run(ctx, 99); return err }(),
		func() error { _, err := c.InterruptRun(ctx, 99); return err }(),
	} {
		if !errors.Is(err, capstan.ErrNotFound) {
			t.Errorf("a run that is not there: %v", err)
		}
	}
}

func testArchives(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := begin(t, c)
	first := plan(t, c, set.ID)
	if first.Number != 1 || first.Name != "backup_2026-11_000001_0001.tar.zst" {
		t.Errorf("first archive %+v", first)
	}
	if archives, err := c.Archives(ctx, set.ID); err != nil || len(archives) != 0 {
		t.Errorf("a planned archive is listed: %+v %v", archives, err)
	}
	if _, err := c.Archive(ctx, set.ID, 1); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a planned archive is given: %v", err)
	}
	first.Entries, first.Size, first.TarSize, first.Hash = 7, 100, 200, capstan.Hash{1}
	for range 2 { // a repetition after a crash
		must(t, c.CommitArchive(ctx, first, capstan.CopyWritten, []capstan.VolumeID{volume}))
	}
	if got, err := c.Archive(ctx, set.ID, 1); err != nil || got != first {
		t.Errorf("archive %+v %v, want %+v", got, err, first)
	}
	different := first
	different.Hash = capstan.Hash{2}
	if err := c.CommitArchive(ctx, different, capstan.CopyWritten, []capstan.VolumeID{volume}); err == nil {
		t.Error("an archive was committed twice with different content")
	}
	different.Number = 5
	if err := c.CommitArchive(ctx, different, capstan.CopyWritten, []capstan.VolumeID{volume}); err == nil {
		t.Error("an archive was committed that was not planned")
	}
	if second := plan(t, c, set.ID); second.Number != 2 {
		t.Errorf("second archive %+v", second)
	}
	must(t, c.SetCopy(ctx, set.ID, 1, volume, capstan.CopyVerified, "", noon))
	must(t, c.SetCopy(ctx, set.ID, 1, volume, capstan.CopyMissing, "gone", noon.Add(time.Hour)))
	must(t, c.EnsureVolume(ctx, capstan.VolumeInfo{ID: "v2", Kind: "dir", Location: "/mnt/2", Created: noon}))
	must(t, c.SetCopy(ctx, set.ID, 1, "v2", capstan.CopyQueued, "", noon))
	copies, err := c.Copies(ctx, set.ID)
	must(t, err)
	want := capstan.Copy{Set: set.ID, Number: 1, Volume: volume, State: capstan.CopyMissing, Changed: noon.Add(time.Hour), Verified: noon, Problem: "gone"}
	if len(copies) != 3 || copies[0] != want || copies[1].Volume != "v2" || copies[2].State != capstan.CopyPacking {
		t.Errorf("copies %+v", copies)
	}
	if err := c.SetCopy(ctx, set.ID, 1, "nowhere", capstan.CopyWritten, "", noon); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a copy on an unknown volume: %v", err)
	}
	if err := c.SetCopy(ctx, set.ID, 9, volume, capstan.CopyWritten, "", noon); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a copy of an unknown archive: %v", err)
	}
}
