package dir

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"capstan"
)

func TestOpenMakesAVolumeOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "volume")
	first := open(t, path, Options{Create: true, Catalog: "one"})
	again := open(t, path, Options{Create: true, Known: first.Info().ID, Catalog: "two"})
	for _, catalog := range []string{"two", "two", "three"} {
		set := capstan.SetID("2026-11_00000" + strconv.Itoa(len(catalog)))
		if err := again.ClaimSet(t.Context(), set, catalog); err != nil {
			t.Fatal(err)
		}
	}
	if first.Info() != again.Info() {
		t.Errorf("%+v became %+v", first.Info(), again.Info())
	}
	if info := again.Info(); info.Kind != "dir" || info.Location != path || info.Created.IsZero() {
		t.Errorf("info %+v", info)
	}
	var m marker
	data, err := os.ReadFile(filepath.Join(path, markerName))
	if err := errors.Join(err, json.Unmarshal(data, &m)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.Catalogs, []string{"one", "two", "three"}) || m.Format != 1 {
		t.Errorf("marker %+v", m)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info, err)
	}
}

func TestOpenForReadingChangesNothing(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	open(t, path, Options{Create: true, Catalog: "one"})
	before := tree(t, path)
	open(t, path, Options{})
	open(t, path, Options{Catalog: "two"})
	if after := tree(t, path); after != before {
		t.Errorf("%s became %s", before, after)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	const other = `{"format":1,"id":"0f6a1b5e-0000-4000-8000-000000000001","created":"2026-01-01T00:00:00Z","catalogs":[]}`
	known := Options{Create: true, Known: "0f6a1b5e-0000-4000-8000-000000000002"}
	create := Options{Create: true, Catalog: "one"}
	tests := []struct {
		name    string
		marker  string // empty: none
		options Options
		class   error
		says    string
	}{
		{"a known volume without marker", "", known, capstan.ErrRefused, "is it mounted?"},
		{"another volume", other, known, capstan.ErrRefused, "0f6a1b5e-0000-4000-8000-000000000001"},
		{"no volume", "", Options{}, capstan.ErrNotFound, "capstan-volume.json"},
		{"an empty marker", " ", create, capstan.ErrDamaged, "damaged"},
		{"an empty marker of a known volume", " ", known, capstan.ErrDamaged, "damaged"},
		{"half a marker", other[:40], create, capstan.ErrDamaged, "damaged"},
		{"a marker without id", `{"format":1}`, create, capstan.ErrDamaged, "UUID"},
		{"a marker without format", `{"id":"0f6a1b5e-0000-4000-8000-000000000001"}`, create, capstan.ErrRefused, "format"},
		{"a newer marker", `{"format":2,"id":{}}`, create, capstan.ErrRefused, ""},
		{"a huge marker", strings.Repeat(" ", markerLimit) + other, create, nil, "longer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			put(t, filepath.Join(path, "foreign"), "theirs")
			if test.marker != "" {
				put(t, filepath.Join(path, markerName), test.marker)
			}
			before := tree(t, path)
			_, err := Open(path, test.options)
			if err == nil || test.class != nil && !errors.Is(err, test.class) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v", err)
			}
			if after := tree(t, path); after != before {
				t.Errorf("%s became %s", before, after)
			}
		})
	}
}

func TestOpenRefusesAbsentDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "mnt", "volume")
	tests := []struct {
		options Options
		class   error
	}{
		{Options{Create: true, Known: "0f6a1b5e-0000-4000-8000-000000000002"}, capstan.ErrRefused},
		{Options{Known: "0f6a1b5e-0000-4000-8000-000000000002"}, capstan.ErrRefused},
		{Options{}, capstan.ErrNotFound},
	}
	for _, test := range tests {
		if _, err := Open(path, test.options); !errors.Is(err, test.class) {
			t.Errorf("%+v: %v", test.options, err)
		}
	}
	if got := tree(t, dir); got != "" {
		t.Errorf("made %s", got)
	}
	put(t, filepath.Join(dir, "file"), "")
	if _, err := Open(filepath.Join(dir, "file"), Options{Create: true}); !errors.Is(err, capstan.ErrUsage) {
		t.Errorf("a file as a volume: %v", err)
	}
}

func TestOpenLeavesForeignFiles(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	put(t, filepath.Join(path, "photos", "a.jpg"), "a")
	put(t, filepath.Join(path, "2026-11_000001", "notes.txt"), "theirs")
	before := tree(t, path)
	v := open(t, path, Options{Create: true, Catalog: "one"})
	if err := os.Remove(filepath.Join(path, markerName)); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, path); after != before {
		t.Errorf("%s became %s", before, after)
	}
	if _, err := v.Sets(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("without marker: %v", err)
	}
}

// Whoever opens a directory first, all agree on one identity.
func TestOpenTogether(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	ids := make([]capstan.VolumeID, 16)
	var group sync.WaitGroup
	for i := range ids {
		group.Go(func() {
			v, err := Open(path, Options{Create: true, Catalog: "one"})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = v.Info().ID
		})
	}
	group.Wait()
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != 1 {
		t.Errorf("identities %v", ids)
	}
	if got := tree(t, path); strings.Contains(got, ".part") {
		t.Errorf("left behind: %s", got)
	}
}

func open(t *testing.T, path string, o Options) *Volume {
	t.Helper()
	v, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// tree tells what lies below a directory, names and contents.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		b.WriteString(strings.TrimPrefix(path, dir))
		if entry.Type().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b.WriteString("=" + string(content[:min(len(content), 100)]))
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
