package stage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan"
)

func keepAll(context.Context, capstan.SetID, string, int64) (Fate, error) { return Keep, nil }

func TestReconcile(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := open(t, path, Options{Quota: capstan.MiB})
	names := map[string]Fate{"kept": Keep, "left": Leave, "aside": SetAside, "discarded": Discard}
	for name := range names {
		seal(t, s, setOne, name, name)
	}
	put(t, s.file(orphanArea, setOne, "aside"), "an earlier one")
	put(t, s.file(tempArea, setTwo, "leftover"), "unsealed")
	for _, area := range []string{tempArea, finalArea} { // of a process that was killed early
		if err := os.Mkdir(s.dir(area, "2026-11_000003"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s.file(finalArea, setTwo, "discarded"), "alone in its set")
	for _, foreign := range []string{"final/notes.txt", "temp/notes/x", "final/2026-11_000001/.hidden"} {
		put(t, filepath.Join(path, foreign), "theirs")
	}
	ctx, cancel := contextWithCause(t)
	defer cancel(nil)
	judge := func(got context.Context, set capstan.SetID, name string, size int64) (Fate, error) {
		if got != ctx || set != setOne && set != setTwo || set == setOne && size != int64(len(name)) {
			t.Errorf("asked about %s/%s of %d bytes", set, name, size)
		}
		return names[name], nil
	}
	report, err := s.Reconcile(ctx, judge)
	if err != nil {
		t.Fatal(err)
	}
	one := func(name string) []Found { return []Found{{setOne, name, int64(len(name))}} }
	if !slices.Equal(report.Kept, one("kept")) || !slices.Equal(report.Left, one("left")) {
		t.Errorf("kept %v, left %v", report.Kept, report.Left)
	}
	if len(report.Discarded) != 2 || !slices.Contains(report.Discarded, one("discarded")[0]) {
		t.Errorf("discarded %v", report.Discarded)
	}
	if !slices.Equal(report.Leftovers, []Found{{setTwo, "leftover", 8}}) || len(report.Busy) != 0 {
		t.Errorf("leftovers %v, busy %v", report.Leftovers, report.Busy)
	}
	aside := []Moved{{one("aside")[0], s.file(orphanArea, setOne, "aside.2")}}
	if !slices.Equal(report.Aside, aside) {
		t.Errorf("aside %v", report.Aside)
	}
	if len(report.Foreign) != 3 {
		t.Errorf("foreign %v", report.Foreign)
	}
	if u := report.Usage; u.Sealed != 8 || u.Stray != 12 || u != usage(t, s) { // notes/x lies too deep to be seen
		t.Errorf("%+v", u)
	}
	want := `/capstan-stage.json
/final
/final/2026-11_000001
/final/2026-11_000001/.hidden=theirs
/final/2026-11_000001/kept=kept
/final/2026-11_000001/left=left
/final/notes.txt=theirs
/orphans
/orphans/2026-11_000001
/orphans/2026-11_000001/aside=an earlier one
/orphans/2026-11_000001/aside.2=aside
/temp
/temp/notes
/temp/notes/x=theirs
`
	if got := tree(t, path); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	lines := strings.Join(report.Lines(), "\n")
	for _, word := range []string{"1 sealed archives wait", "1 unfinished files", "left where it is", "aside.2", "removed", "notes.txt", ".hidden"} {
		if !strings.Contains(lines, word) {
			t.Errorf("%q is not said in\n%s", word, lines)
		}
	}
	// Again: nothing is found twice.
	again, err := s.Reconcile(ctx, judge)
	if err != nil || len(again.Leftovers)+len(again.Aside)+len(again.Discarded) != 0 || len(again.Kept) != 1 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestReconcileOfAnEmptyStageSaysNothing(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: capstan.MiB})
	report, err := s.Reconcile(t.Context(), keepAll)
	if err != nil || len(report.Lines()) != 0 {
		t.Errorf("%q, %v", report.Lines(), err)
	}
}

// What a living owner works on is not judged: an archive may be sealed, and its
// transaction in the catalog still be under way.
func TestReconcileLeavesTheLivingAlone(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := open(t, path, Options{Quota: capstan.MiB})
	seal(t, s, setOne, nameOne, "not yet in the catalog")
	file := begin(t, s, setOne, nameTwo, nil)
	write(t, file, "being written")
	other := open(t, path, Options{Quota: capstan.MiB}) // its opening sweeps temp, too
	report, err := other.Reconcile(t.Context(), func(_ context.Context, set capstan.SetID, name string, _ int64) (Fate, error) {
		t.Errorf("asked about %s/%s", set, name)
		return Discard, nil
	})
	if err != nil || !slices.Equal(report.Busy, []capstan.SetID{setOne}) || len(report.Leftovers) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if lines := report.Lines(); len(lines) != 1 || !strings.Contains(lines[0], string(setOne)) {
		t.Errorf("%q", lines)
	}
	write(t, file, ".")
	if err := file.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Its own sets are judged, but for what it writes.
	third := begin(t, s, setOne, "third", nil)
	write(t, third, "being written")
	defer func() {
		if err := third.Commit(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	asked := 0
	_, err = s.Reconcile(t.Context(), func(context.Context, capstan.SetID, string, int64) (Fate, error) {
		asked++
		return Keep, nil
	})
	if asked != 2 || err != nil {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

// A set is claimed, its files adopted, and left again while judge is asked: the
// second question sees it.
func TestReconcileAsksAgainBeforeItRemoves(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := open(t, path, Options{Quota: capstan.MiB})
	seal(t, s, setOne, nameOne, "one")
	seal(t, s, setTwo, nameTwo, "two")
	if err := errors.Join(s.LeaveSet(t.Context(), setOne), s.LeaveSet(t.Context(), setTwo)); err != nil {
		t.Fatal(err)
	}
	other := open(t, path, Options{Quota: capstan.MiB})
	asked := map[capstan.SetID]int{}
	report, err := s.Reconcile(t.Context(), func(ctx context.Context, set capstan.SetID, _ string, _ int64) (Fate, error) {
		asked[set]++
		if asked[set] > 1 {
			return Keep, nil // adopted and left meanwhile
		}
		if set == setTwo { // claimed meanwhile, and still
			if err := other.ClaimSet(ctx, setTwo); err != nil {
				t.Error(err)
			}
		}
		return Discard, nil
	})
	if err != nil || asked[setOne] != 2 || asked[setTwo] != 1 || len(report.Discarded) != 0 || len(report.Kept) != 1 {
		t.Errorf("asked %v, %+v, %v", asked, report, err)
	}
	if load(t, s, setOne, nameOne) != "one" || load(t, s, setTwo, nameTwo) != "two" {
		t.Error("a file was changed")
	}
}

// A catalog that cannot answer makes no orphans.
func TestReconcileWithoutAnswers(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: capstan.MiB})
	seal(t, s, setOne, nameOne, "one")
	before := tree(t, s.Path())
	why := errors.New("the catalog is locked")
	for n := range 2 {
		asked := 0
		_, err := s.Reconcile(t.Context(), func(context.Context, capstan.SetID, string, int64) (Fate, error) {
			if asked++; asked > n {
				return Discard, why
			}
			return Discard, nil
		})
		if !errors.Is(err, why) || !strings.Contains(err.Error(), nameOne) {
			t.Errorf("got %v", err)
		}
		if after := tree(t, s.Path()); after != before {
			t.Errorf("%s became %s", before, after)
		}
	}
	if _, err := s.Reconcile(t.Context(), func(context.Context, capstan.SetID, string, int64) (Fate, error) { return Discard + 1, nil }); err == nil {
		t.Error("a fate that is none passed")
	}
	if _, err := os.Stat(s.file(finalArea, setOne, nameOne)); err != nil {
		t.Error(err)
	}
}

// A loss of power may take a lock and leave its record, whole or not: nobody holds
// anything by it, and it goes.
func TestRecordWithoutItsLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(memory(t), "stage")
	s := open(t, path, Options{})
	record, err := os.ReadFile(s.owner.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"WHOLE": string(record), "TORN": string(record[:len(record)/2]), "EMPTY": ""} {
		put(t, filepath.Join(path, ledgerArea, name+recordSuffix), content)
	}
	s = open(t, path, Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left := tree(t, filepath.Join(path, ledgerArea)); strings.Contains(left, recordSuffix) {
		t.Errorf("left in the ledger: %s", left)
	}
}
