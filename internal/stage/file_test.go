package stage

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan"
)

// One archive from its reservation to its removal.
func TestLife(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "home", "stage")
	s := open(t, path, Options{Quota: capstan.MiB})
	room := reserve(t, s, 100_000)
	file := begin(t, s, setOne, nameOne, room)
	content := pattern(60_000)
	write(t, file, content)
	if u := usage(t, s); u.Used != 100_000 || u.Held != 100_000 || u.Free != capstan.MiB-100_000 {
		t.Errorf("while it is written: %+v", u)
	}
	if files, err := s.List(t.Context(), setOne); len(files) != 0 || err != nil {
		t.Errorf("an unsealed file is listed: %v, %v", files, err)
	}
	if _, err := s.Open(t.Context(), setOne, nameOne); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unsealed file is opened: %v", err)
	}
	if err := file.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if u := usage(t, s); u.Used != 60_000 || u.Sealed != 60_000 {
		t.Errorf("what was reserved too much is not free: %+v", u)
	}
	if got := load(t, s, setOne, nameOne); !same(got, content) {
		t.Errorf("%d bytes that are not the %d written", len(got), len(content))
	}
	if files, err := s.List(t.Context(), setOne); !slices.Equal(files, []capstan.StoredFile{{Name: nameOne, Size: 60_000}}) || err != nil {
		t.Errorf("list %v, %v", files, err)
	}
	if info, err := os.Stat(filepath.Join(path, finalArea, string(setOne), nameOne)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
	for range 2 {
		if err := s.Remove(t.Context(), setOne, nameOne); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if u := usage(t, s); u.Used != 0 {
		t.Errorf("after the removal: %+v", u)
	}
	if got, want := tree(t, path), "/capstan-stage.json\n/final\n/temp\n"; got != want {
		t.Errorf("left behind: %s", got)
	}
}

func TestCommitAndAbortEndOnce(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: capstan.MiB})
	file := begin(t, s, setOne, nameOne, nil)
	write(t, file, "sealed")
	if err := file.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := file.Abort(); err != nil {
		t.Errorf("abort after commit: %v", err)
	}
	if err := file.Commit(t.Context()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a second commit: %v", err)
	}
	if _, err := io.WriteString(file, "x"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a write after commit: %v", err)
	}
	if got := load(t, s, setOne, nameOne); got != "sealed" {
		t.Errorf("%q", got)
	}
	other := begin(t, s, setOne, nameTwo, reserve(t, s, 1000))
	write(t, other, "never")
	for range 2 {
		if err := other.Abort(); err != nil {
			t.Errorf("abort: %v", err)
		}
	}
	if err := other.Commit(t.Context()); err == nil {
		t.Error("a commit after abort passed")
	}
	if u := usage(t, s); u.Used != 6 {
		t.Errorf("an aborted file keeps room: %+v", u)
	}
	if got := tree(t, s.Path()); strings.Contains(got, nameTwo) || strings.Contains(got, "/temp/") {
		t.Errorf("left behind: %s", got)
	}
}

func TestCommitIsCancelled(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: capstan.MiB})
	file := begin(t, s, setOne, nameOne, nil)
	write(t, file, "x")
	ctx, why := cancelled(t)
	if err := file.Commit(ctx); !errors.Is(err, why) {
		t.Errorf("commit gives %v, not the cause", err)
	}
	if u := usage(t, s); u.Used != 0 {
		t.Errorf("it keeps room: %+v", u)
	}
	_, createErr := s.Create(ctx, setOne, nameOne, nil)
	_, openErr := s.Open(ctx, setOne, nameOne)
	_, listErr := s.List(ctx, setOne)
	_, reserveErr := s.Reserve(ctx, 1)
	_, usageErr := s.Usage(ctx)
	_, reconcileErr := s.Reconcile(ctx, keepAll)
	for i, err := range []error{
		createErr, openErr, listErr, reserveErr, usageErr, reconcileErr,
		s.ClaimSet(ctx, setOne), s.Remove(ctx, setOne, nameOne),
	} {
		if !errors.Is(err, why) {
			t.Errorf("call %d gives %v, not the cause", i, err)
		}
	}
}

// A cancelled run gives back what it has: what ends a file does not need a
// context that lives.
func TestCancelledRunGivesBack(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := open(t, path, Options{Quota: 1000})
	other := open(t, path, Options{Quota: 1000})
	if err := s.ClaimSet(t.Context(), setOne); err != nil {
		t.Fatal(err)
	}
	room := reserve(t, s, 500)
	ctx, why := cancelled(t)
	if _, err := s.Create(ctx, setOne, nameOne, room); !errors.Is(err, why) {
		t.Errorf("create: %v", err)
	}
	if u := usage(t, other); u.Held != 500 {
		t.Errorf("a failed Create took the reservation: %+v", u)
	}
	if err := room.Release(ctx); err != nil {
		t.Errorf("release: %v", err)
	}
	if u := usage(t, other); u.Held != 0 {
		t.Errorf("the other owner does not know of the release: %+v", u)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := open(t, path, Options{Quota: capstan.MiB})
	other := open(t, path, Options{Quota: capstan.MiB})
	if _, err := s.Create(t.Context(), setOne, nameOne, nil); err == nil {
		t.Error("a file of a set that nobody claimed was created")
	}
	seal(t, s, setOne, nameOne, "sealed")
	if _, err := s.Create(t.Context(), setOne, nameOne, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a sealed file: %v", err)
	}
	file := begin(t, s, setOne, nameTwo, nil)
	if _, err := s.Create(t.Context(), setOne, nameTwo, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file that is being written: %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "/a", "../" + nameOne, "a\x00b", ".hidden", `a\b`, "-x", strings.Repeat("x", 201)} {
		if _, err := s.Create(t.Context(), setOne, name, nil); err == nil {
			t.Errorf("file %q was created", name)
		}
		if _, err := s.Open(t.Context(), setOne, name); err == nil {
			t.Errorf("file %q was opened", name)
		}
		if err := s.Remove(t.Context(), setOne, name); err == nil {
			t.Errorf("file %q was removed", name)
		}
	}
	if err := s.ClaimSet(t.Context(), "../x"); err == nil {
		t.Error("a set name that leads elsewhere was taken")
	}
	used := reserve(t, s, 10)
	second := begin(t, s, setOne, "used", used)
	foreign := reserve(t, other, 10)
	released := reserve(t, s, 10)
	release(t, released)
	for what, r := range map[string]*Reservation{"used": used, "released": released, "another stage's": foreign} {
		if _, err := s.Create(t.Context(), setOne, "another", r); err == nil {
			t.Errorf("a reservation that is %s was taken", what)
		}
	}
	if u := usage(t, s); u.Held != 20 { // used and foreign
		t.Errorf("refusals changed what is held: %+v", u)
	}
	if err := errors.Join(file.Abort(), second.Abort()); err != nil {
		t.Error(err)
	}
	release(t, foreign)
	if got := load(t, s, setOne, nameOne); got != "sealed" {
		t.Errorf("%q", got)
	}
}

// A file may become larger than it was thought to be.
func TestGrowth(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: capstan.MiB})
	file := begin(t, s, setOne, nameOne, reserve(t, s, 1000))
	content := pattern(300_000)
	for chunk := range slices.Chunk([]byte(content), 999) {
		write(t, file, string(chunk))
	}
	if u := usage(t, s); u.Held < 300_000 || u.Held > 300_000+capstan.MiB/64 {
		t.Errorf("held %+v", u)
	}
	if _, err := file.Write(make([]byte, 900_000)); !errors.Is(err, capstan.ErrNoSpace) || !strings.Contains(err.Error(), "1.0 MiB") {
		t.Errorf("larger than the whole stage: %v", err)
	}
	if err := file.Commit(t.Context()); !errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("commit after a failed write: %v", err)
	}
	if u := usage(t, s); u.Used != 0 {
		t.Errorf("afterwards %+v", u)
	}
}

func TestGrowthSeals(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: capstan.MiB})
	content := pattern(300_000)
	seal(t, s, setOne, nameOne, content)
	if u := usage(t, s); u.Used != 300_000 || u.Sealed != 300_000 {
		t.Errorf("%+v", u)
	}
	if got := load(t, s, setOne, nameOne); !same(got, content) {
		t.Error("other bytes than written")
	}
}

func TestSetsHaveOneOwner(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := open(t, path, Options{Quota: capstan.MiB})
	other := open(t, path, Options{Quota: capstan.MiB})
	for range 2 {
		if err := s.ClaimSet(t.Context(), setOne); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.ClaimSet(t.Context(), setOne); !errors.Is(err, capstan.ErrLocked) || !strings.Contains(err.Error(), "process") {
		t.Errorf("a set of another owner: %v", err)
	}
	file := begin(t, s, setOne, nameOne, nil)
	if err := s.LeaveSet(t.Context(), setOne); err == nil {
		t.Error("a set was left while its file is being written")
	}
	write(t, file, "x")
	if err := file.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.LeaveSet(t.Context(), setOne); err != nil {
			t.Error(err)
		}
	}
	if err := other.ClaimSet(t.Context(), setOne); err != nil {
		t.Errorf("a set that was left: %v", err)
	}
	// Reading and removing need no claim.
	if got := load(t, s, setOne, nameOne); got != "x" {
		t.Errorf("%q", got)
	}
	if err := s.Remove(t.Context(), setOne, nameOne); err != nil {
		t.Error(err)
	}
}

// One archive is removed while the next of the set is being packed: the set's
// directories are still needed.
func TestRemoveWhileTheNextIsWritten(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: capstan.MiB})
	seal(t, s, setOne, nameOne, "one")
	next := begin(t, s, setOne, nameTwo, nil)
	write(t, next, "two")
	if err := s.Remove(t.Context(), setOne, nameOne); err != nil {
		t.Fatal(err)
	}
	if err := next.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := load(t, s, setOne, nameTwo); got != "two" {
		t.Errorf("%q", got)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := open(t, path, Options{Quota: capstan.MiB})
	other := open(t, path, Options{Quota: capstan.MiB})
	file := begin(t, s, setOne, nameOne, reserve(t, s, 1000))
	write(t, file, "unsealed")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if _, err := s.Reserve(t.Context(), 1); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("reserve: %v", err)
	}
	if err := s.ClaimSet(t.Context(), setOne); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("claim: %v", err)
	}
	if err := file.Commit(t.Context()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("commit: %v", err)
	}
	// The other owner finds nothing held, and takes the file away.
	if u := usage(t, other); u.Used != 0 {
		t.Errorf("%+v", u)
	}
	if got := tree(t, s.area(tempArea)); got != "" {
		t.Errorf("left in temp: %s", got)
	}
	entries, err := os.ReadDir(filepath.Join(path, ledgerArea))
	if len(entries) != 3 || err != nil {
		t.Errorf("in the ledger: %v, %v", entries, err)
	}
}

// What a failed removal has left in temp is in nobody's way.
func TestCreateReplacesALeftover(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: capstan.MiB})
	put(t, s.file(tempArea, setOne, nameOne), "a longer, unfinished content")
	if u := usage(t, s); u.Stray != 28 || u.Used != 28 {
		t.Errorf("%+v", u)
	}
	seal(t, s, setOne, nameOne, "content")
	if got := load(t, s, setOne, nameOne); got != "content" {
		t.Errorf("%q", got)
	}
}

// What has come to final meanwhile is not replaced.
func TestCommitReplacesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: capstan.MiB})
	file := begin(t, s, setOne, nameOne, nil)
	write(t, file, "ours")
	put(t, s.file(finalArea, setOne, nameOne), "theirs")
	if err := file.Commit(t.Context()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("commit: %v", err)
	}
	if got := load(t, s, setOne, nameOne); got != "theirs" {
		t.Errorf("%q", got)
	}
	if u := usage(t, s); u.Used != 6 {
		t.Errorf("%+v", u)
	}
}

// A file that was replaced under its writer's hands is not sealed, and the other
// one not removed.
func TestCommitSealsItsOwnFile(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: capstan.MiB})
	file := begin(t, s, setOne, nameOne, nil)
	write(t, file, "ours")
	if err := os.Remove(s.file(tempArea, setOne, nameOne)); err != nil {
		t.Fatal(err)
	}
	put(t, s.file(tempArea, setOne, nameOne), "thei")
	if err := file.Commit(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("commit: %v", err)
	}
	if got := tree(t, s.area(finalArea)) + tree(t, s.area(tempArea)); !strings.Contains(got, "=thei") || strings.Contains(got, "final") {
		t.Errorf("%s", got)
	}
}
