package dir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan"
)

const (
	testSet  = capstan.SetID("2026-11_000001")
	testName = "backup_2026-11_000001_0001.tar.zst"
)

// Whatever stands under a set's name and is not ours is refused and stays.
func TestForeignSets(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, path string){
		"another catalog": func(t *testing.T, path string) {
			other := open(t, path, Options{Catalog: "other"})
			if err := other.ClaimSet(t.Context(), testSet, "other"); err != nil {
				t.Fatal(err)
			}
			store(t, other, testSet, testName, "theirs")
			put(t, filepath.Join(path, string(testSet), "x.part"), "unfinished")
		},
		"no owner": func(t *testing.T, path string) {
			put(t, filepath.Join(path, string(testSet), testName), "theirs")
			put(t, filepath.Join(path, string(testSet), "x.part"), "unfinished")
		},
		"an empty directory": func(t *testing.T, path string) {
			if err := os.Mkdir(filepath.Join(path, string(testSet)), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"a file":        func(t *testing.T, path string) { put(t, filepath.Join(path, string(testSet)), "theirs") },
		"damaged owner": func(t *testing.T, path string) { put(t, filepath.Join(path, string(testSet), ownerName), "{") },
		"newer owner": func(t *testing.T, path string) {
			put(t, filepath.Join(path, string(testSet), ownerName), `{"format":2,"set":"2026-11_000001","owner":"home"}`)
		},
		"a set under a second name": func(t *testing.T, path string) {
			put(t, filepath.Join(path, string(testSet), ownerName), `{"format":1,"set":"2026-11_000077","owner":"home"}`)
		},
		"a link": func(t *testing.T, path string) {
			put(t, filepath.Join(path, "elsewhere", ownerName), `{"format":1,"set":"2026-11_000001","owner":"home"}`)
			if err := os.Symlink("elsewhere", filepath.Join(path, string(testSet))); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			v := open(t, path, Options{Create: true, Catalog: "home"})
			prepare(t, path)
			before := tree(t, path)
			if err := v.ClaimSet(t.Context(), testSet, "home"); !errors.Is(err, capstan.ErrSetExists) {
				t.Errorf("claim: %v", err)
			}
			if _, err := v.Create(t.Context(), testSet, "DELETED"); !errors.Is(err, capstan.ErrRefused) {
				t.Errorf("create: %v", err)
			}
			if err := v.Remove(t.Context(), testSet, testName); !errors.Is(err, capstan.ErrRefused) {
				t.Errorf("remove: %v", err)
			}
			if n, err := v.Discard(t.Context(), testSet); n != 0 || !errors.Is(err, capstan.ErrRefused) {
				t.Errorf("discard: %d, %v", n, err)
			}
			if after := tree(t, path); after != before {
				t.Errorf("%s became %s", before, after)
			}
			sets, err := v.Sets(t.Context())
			if err != nil || (len(sets) == 1) == (name == "a file" || name == "a link") {
				t.Errorf("sets %v, %v", sets, err)
			}
		})
	}
}

func TestOurSetsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	v := open(t, path, Options{Create: true, Catalog: "home"})
	if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
		t.Fatal(err)
	}
	store(t, v, testSet, testName, "content")
	put(t, filepath.Join(path, string(testSet), "DELETED.part"), "left by a kill")

	v = open(t, path, Options{Catalog: "home"})
	if n, err := v.Discard(t.Context(), testSet); n != 1 || err != nil {
		t.Errorf("discard: %d, %v", n, err)
	}
	store(t, v, testSet, "DELETED", "x")
	if got := load(t, v, testSet, testName); got != "content" {
		t.Errorf("read %q", got)
	}
	if err := v.Remove(t.Context(), testSet, testName, "DELETED"); err != nil {
		t.Error(err)
	}
	if got := tree(t, path); strings.Contains(got, string(testSet)) || strings.Contains(got, ".capstan-claim") {
		t.Errorf("left behind: %s", got)
	}
	if _, err := v.Create(t.Context(), testSet, testName); err == nil {
		t.Error("a removed set takes files")
	}
}

// Foreign files in our own set's directory stay, and so does the directory.
func TestRemoveLeavesForeignFiles(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	v := open(t, path, Options{Create: true, Catalog: "home"})
	if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
		t.Fatal(err)
	}
	store(t, v, testSet, testName, "content")
	put(t, filepath.Join(path, string(testSet), "my notes"), "theirs")
	if err := v.Remove(t.Context(), testSet, testName); err != nil {
		t.Error(err)
	}
	if content, err := os.ReadFile(filepath.Join(path, string(testSet), "my notes")); string(content) != "theirs" || err != nil {
		t.Error(string(content), err)
	}
	files, err := v.List(t.Context(), testSet)
	if len(files) != 0 || err != nil {
		t.Error(files, err)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	v := open(t, path, Options{Create: true, Catalog: "home"})
	if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
		t.Fatal(err)
	}
	store(t, v, testSet, testName, "x")
	for name, want := range map[string]os.FileMode{
		string(testSet): 0o700, string(testSet) + "/" + testName: 0o600, string(testSet) + "/" + ownerName: 0o600, markerName: 0o600,
	} {
		if info, err := os.Stat(filepath.Join(path, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func store(t *testing.T, v capstan.Volume, set capstan.SetID, name, content string) {
	t.Helper()
	file, err := v.Create(t.Context(), set, name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(file, content)
	if err := errors.Join(err, file.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, v capstan.Volume, set capstan.SetID, name string) string {
	t.Helper()
	reader, err := v.Open(t.Context(), set, name)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(io.NewSectionReader(reader, 0, reader.Size()))
	if err := errors.Join(err, reader.Close()); err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// What a kill leaves of a claim or a removal is in nobody's way.
func TestLeftoverClaims(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	v := open(t, path, Options{Create: true, Catalog: "home"})
	leftover := func() { put(t, filepath.Join(v.claimDir(testSet, "home"), "."+ownerName+".x.part"), "{") }
	leftover()
	if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
		t.Fatal(err)
	}
	store(t, v, testSet, testName, "x")
	leftover()
	if err := v.Remove(t.Context(), testSet, testName); err != nil {
		t.Fatal(err)
	}
	leftover()
	if n, err := v.Discard(t.Context(), testSet); n != 0 || err != nil {
		t.Error(n, err)
	}
	if got := tree(t, path); strings.Contains(got, string(testSet)) {
		t.Errorf("left behind: %s", got)
	}
}
