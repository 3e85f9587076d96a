package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gofrs/flock"

	"capstan"
)

func TestOpenMakesAStageOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "stage")
	first := open(t, path, Options{Catalog: "one"})
	again := open(t, path, Options{Catalog: "one", Known: first.ID()})
	if first.ID() != again.ID() || first.ID() == "" || again.Path() != path {
		t.Errorf("%q became %q, at %s", first.ID(), again.ID(), again.Path())
	}
	err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	for total, want := range map[capstan.Bytes]capstan.Bytes{
		0: 0, 8 * capstan.MiB: capstan.MiB, capstan.GiB: 64 * capstan.MiB,
		50 * capstan.GiB: 512 * capstan.MiB, 18 * capstan.TiB: capstan.GiB,
	} {
		if got := chooseReserve(0, total); got != want {
			t.Errorf("reserve of %s: %s, want %s", total, got, want)
		}
	}
	tests := []struct {
		free, sealed, held, unwritten, reserve, want capstan.Bytes
	}{
		{free: 1000, want: 800},
		{free: 400, sealed: 600, want: 800},                           // a full stage does not shrink the next process's
		{free: 900, held: 300, unwritten: 200, want: 800},             // 100 of them are written
		{free: 1000, reserve: 300, want: 700},                         // never the reserve
		{free: 100, reserve: 300, want: 0},                            // nothing to be had
		{free: 0, sealed: 10, want: 8},                                // a full disk
		{free: 100 << 40, want: 80 << 40},                             // no overflow
		{free: 1<<63 - 1, want: maxBytes / 4},                         // a filesystem without end
		{free: 1000, sealed: 0, held: 500, unwritten: 500, want: 800}, // nothing written yet
	}
	for _, test := range tests {
		v := &survey{sealed: test.sealed, held: test.held, unwritten: test.unwritten}
		v.space.Free = test.free
		if got := chooseQuota(0, v, test.reserve); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
}

func TestDefaultQuotaIsOfTheFreeSpace(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	free, err := s.disk.Free(s.Path())
	if u := usage(t, s); err != nil || u.Quota < free/5*3 || u.Quota > free {
		t.Errorf("quota %s of %s free, %v", u.Quota, free, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	const marker = `{"format":1,"id":"THEIRS","catalog":"theirs"}`
	tests := []struct {
		name    string
		files   map[string]string
		options Options
		class   error
		says    string
	}{
		{"a known stage that is not there", nil, Options{Known: "OURS"}, capstan.ErrRefused, "is its disk mounted?"},
		{"another stage", map[string]string{markerName: marker}, Options{Known: "OURS"}, capstan.ErrRefused, "THEIRS"},
		{"another catalog's", map[string]string{markerName: marker}, Options{Catalog: "ours"}, capstan.ErrRefused, "catalog theirs"},
		{"an empty marker", map[string]string{markerName: ""}, Options{}, capstan.ErrDamaged, markerName},
		{"half a marker", map[string]string{markerName: marker[:20]}, Options{}, capstan.ErrDamaged, markerName},
		{"a marker without id", map[string]string{markerName: `{"format":1}`}, Options{}, capstan.ErrDamaged, "id"},
		{"a newer marker", map[string]string{markerName: `{"format":2,"id":"X"}`}, Options{}, capstan.ErrRefused, "newer capstan"},
		{"a huge marker", map[string]string{markerName: strings.Repeat(" ", markerLimit) + marker}, Options{}, nil, "longer"},
		{"somebody's temp", map[string]string{"temp/x": "theirs"}, Options{}, capstan.ErrRefused, "is not empty"},
		{"somebody's final", map[string]string{"final/x": "theirs"}, Options{}, capstan.ErrRefused, "directory of its own"},
		{"a file that is called temp", map[string]string{"temp": "theirs"}, Options{}, capstan.ErrRefused, "temp"},
		{"a file that is called final", map[string]string{markerName: marker, "final": "theirs"}, Options{}, capstan.ErrRefused, "not a directory"},
		{"a negative quota", nil, Options{Quota: -1}, capstan.ErrUsage, "quota"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			put(t, filepath.Join(path, "foreign"), "theirs")
			for name, content := range test.files {
				put(t, filepath.Join(path, name), content)
			}
			before := tree(t, path)
			_, err := Open(t.Context(), path, test.options)
			if err == nil || test.class != nil && !errors.Is(err, test.class) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v", err)
			}
			if after := strings.ReplaceAll(tree(t, path), "/temp\n", ""); after != strings.ReplaceAll(before, "/temp\n", "") {
				t.Errorf("%s became %s", before, after)
			}
		})
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "mnt", "stage"), Options{Known: "OURS"}); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("a known stage in a directory that is not there: %v", err)
	}
}

// A link leads out of what the marker stands for: an unmounted disk behind it
// would not be noticed.
func TestLinksAreRefused(t *testing.T) {
	t.Parallel()
	for _, area := range []string{tempArea, finalArea, ledgerArea} {
		path, elsewhere := t.TempDir(), t.TempDir()
		put(t, filepath.Join(path, markerName), `{"format":1,"id":"X"}`)
		if err := os.Symlink(elsewhere, filepath.Join(path, area)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), path, Options{}); !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), area) {
			t.Errorf("%s: %v", area, err)
		}
	}
	for _, area := range []string{tempArea, finalArea} {
		s, elsewhere := open(t, t.TempDir(), Options{Quota: capstan.MiB}), t.TempDir()
		if err := errors.Join(s.ClaimSet(t.Context(), setOne), os.Symlink(elsewhere, s.dir(area, setOne))); err != nil {
			t.Fatal(err)
		}
		file, err := s.Create(t.Context(), setOne, nameOne, nil)
		if err == nil {
			err = file.Commit(t.Context())
		}
		if !errors.Is(err, capstan.ErrRefused) {
			t.Errorf("a set's directory in %s that is a link: %v", area, err)
		}
		if got := tree(t, elsewhere); got != "" {
			t.Errorf("written elsewhere: %s", got)
		}
		if u := usage(t, s); u.Held != 0 {
			t.Errorf("%+v", u)
		}
	}
}

// Whoever opens a directory first, all agree on one stage.
func TestOpenTogether(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stage")
	ids := make([]string, 12)
	var group sync.WaitGroup
	for i := range ids {
		group.Go(func() {
			s, err := Open(t.Context(), path, Options{Quota: 1000, Reserve: -1})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = s.ID()
			r, err := s.Reserve(t.Context(), 400)
			if err != nil {
				t.Error(err)
			} else {
				release(t, r)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != 1 {
		t.Errorf("stages %v", ids)
	}
	entries, err := os.ReadDir(filepath.Join(path, ledgerArea))
	if len(entries) != 1 || err != nil {
		t.Errorf("left in the ledger: %v, %v", entries, err)
	}
}

// A process that stopped while it had the ledger holds up the others: a declared
// wait, which ends with the context.
func TestLockedLedgerIsADeclaredWait(t *testing.T) {
	t.Parallel()
	var w waits
	path := t.TempDir()
	s := open(t, path, Options{Quota: 100, Wait: w.hook})
	lock := flock.New(s.ledgerLock(), flock.SetFlag(os.O_RDWR))
	if taken, err := lock.TryLock(); !taken || err != nil {
		t.Fatal(taken, err)
	}
	why := errors.New("cancelled by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	w.then = func() {
		if said, open := w.all(); open != 1 || len(said) != 1 || !strings.HasPrefix(said[0], "lock: ") || !strings.Contains(said[0], path) {
			t.Errorf("declared %q, %d open", said, open)
		}
		cancel(why)
	}
	if _, err := s.Usage(ctx); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	w.then = nil
	var group sync.WaitGroup
	w.begun = make(chan struct{}, 1)
	group.Go(func() {
		if r, err := s.Reserve(t.Context(), 10); err != nil {
			t.Error(err)
		} else {
			release(t, r)
		}
	})
	<-w.begun
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
	group.Wait()
	if _, open := w.all(); open != 0 {
		t.Errorf("%d waits are open", open)
	}
}

// What is given back while the ledger is locked is not lost, and does not hang.
func TestReleaseWithLockedLedger(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), path, Options{Quota: 100, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r := reserve(t, s, 100)
		lock := flock.New(s.ledgerLock(), flock.SetFlag(os.O_RDWR))
		if taken, err := lock.TryLock(); !taken || err != nil {
			t.Fatal(taken, err)
		}
		ctx, _ := cancelled(t)
		if err := r.Release(ctx); err == nil || !strings.Contains(err.Error(), fmt.Sprint(settleTime)) {
			t.Errorf("got %v", err)
		}
		if err := lock.Unlock(); err != nil {
			t.Error(err)
		}
		release(t, reserve(t, s, 100))
	})
}

func FuzzMarker(f *testing.F) {
	for _, seed := range []string{`{"format":1,"id":"X","catalog":"","created":"2026-11-20T00:00:00Z"}`, `{"format":2}`, `{`, "", `{"format":1,"id":""}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMarker(data)
		if err != nil {
			return
		}
		if m.ID == "" || m.Format != markerFormat {
			t.Errorf("%q was taken for %+v", data, m)
		}
		text, err := json.Marshal(m)
		if err != nil {
			return // a time that JSON takes and does not give
		}
		if again, err := parseMarker(text); err != nil || again.ID != m.ID || again.Catalog != m.Catalog || !again.Created.Equal(m.Created) {
			t.Errorf("%q became %+v, then %+v, %v", data, m, again, err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	r := record{
		Format: recordFormat, PID: 7, Sets: []capstan.SetID{setOne},
		Holds: []hold{{ID: 1, Bytes: 10, Set: setOne, Name: nameOne}, {ID: 2, Bytes: 9, Spool: true, Written: 3}}, Requests: []request{{1, 0, 5}},
	}
	data, err := r.encode(300)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{data, data[:60], []byte(`{"format":1,"holds":[{"bytes":-1}]}`), []byte(`{"format":1,"requests":[{"bytes":9223372036854775807}]}`), nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		v := &survey{records: []record{r}}
		v.count()
		if v.held < 0 || v.unwritten < 0 {
			t.Errorf("%q holds %d, %d unwritten", data, v.held, v.unwritten)
		}
		for _, q := range v.queue() {
			v.judge(q.Ticket)
		}
		v.judge(0)
		again, err := r.encode(10)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeRecord(again); err != nil {
			t.Errorf("%q: %v", again, err)
		}
	})
}
