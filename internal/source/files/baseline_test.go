package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan"
)

func TestUnchanged(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a": "1", "big": strings.Repeat("b", smallContent+1), "d/e/f": "2", "d/empty/": "", "d/g": ""})
	must(t, os.Symlink("a", filepath.Join(root, "link")))
	must(t, os.Link(filepath.Join(root, "a"), filepath.Join(root, "d/hard")))
	read := 0
	s := open(t, root, Options{Readers: 1})
	first := collect(t, s, nil)
	baseline := keep(first)
	s = open(t, root, Options{Hooks: Hooks{Bytes: func(n int) { read += n }}})
	second := collect(t, s, baseline)
	for i, g := range second {
		want := baseline.at(g.Path)
		if g.Outcome != capstan.OutcomeUnchanged || g.content != nil || g.Hash != want.Hash || g.Location != want.Location || g.Kind != want.Kind ||
			g.Host != first[i].Host {
			t.Errorf("%+v", g)
		}
	}
	if len(second) != len(first) || read != 0 {
		t.Errorf("%d entries, %d bytes read", len(second), read)
	}
}

func TestChangesSinceBaseline(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"chmod": "", "content": "old", "same-size": "old", "deleted": "", "tofile/below": "", "todir": "",
		"gone/x/y": "", "gone/z": "", "steady/file": "", "steady/sub/": "", "touch": "", "zz-last": "",
	})
	at := func(name string) string { return filepath.Join(root, name) }
	baseline := keep(collect(t, open(t, root, Options{}), nil))
	info, err := os.Stat(at("same-size"))
	must(t, err)
	must(t, os.Chmod(at("chmod"), 0o600))
	write(t, at("content"), "longer than before")
	write(t, at("same-size"), "new")
	must(t, os.Chtimes(at("same-size"), info.ModTime(), info.ModTime())) // only ctime tells
	must(t, os.Remove(at("deleted")))
	must(t, os.RemoveAll(at("gone")))
	must(t, os.RemoveAll(at("tofile")))
	write(t, at("tofile"), "")
	must(t, os.Remove(at("todir")))
	write(t, at("todir/new"), "")
	write(t, at("new/file"), "")
	must(t, os.Chtimes(at("touch"), time.Time{}, time.Now()))

	all := collect(t, open(t, root, Options{}), baseline)
	wantOutcomes(t, all, "data stored", "data/chmod stored", "data/content stored", "data/deleted deleted", "data/gone deleted",
		"data/new stored", "data/new/file stored", "data/same-size stored", "data/steady unchanged", "data/steady/file unchanged",
		"data/steady/sub unchanged", "data/todir stored", "data/todir/new stored", "data/tofile stored", "data/touch stored", "data/zz-last unchanged")
	if g := byPath(t, all, "data/gone"); g.Kind != capstan.KindDir || g.Host != at("gone") {
		t.Errorf("%s %s", g.Kind, g.Host)
	}
	if g := byPath(t, all, "data/same-size"); string(g.content) != "new" {
		t.Errorf("%q", g.content)
	}
}

// What was not held, or not held as it was, is read again.
func TestBaselineOutcomes(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"changed": "", "excluded": "", "failed/sub/file": "", "stored": "", "vanished": ""})
	baseline := keep(collect(t, open(t, root, Options{}), nil))
	for path, outcome := range map[string]capstan.Outcome{
		"data/changed": capstan.OutcomeChanged, "data/excluded": capstan.OutcomeExcluded, "data/failed": capstan.OutcomeFailed,
		"data/stored": capstan.OutcomeUnchanged, "data/vanished": capstan.OutcomeVanished,
	} {
		baseline.at(path).Outcome = outcome
	}
	// Failed once, gone now: it was never held, so it is not deleted either.
	baseline.entries = append(baseline.entries, capstan.Entry{Path: "data/zz", Kind: capstan.KindFile, Outcome: capstan.OutcomeFailed})
	all := collect(t, open(t, root, Options{}), baseline)
	wantOutcomes(t, all, "data unchanged", "data/changed stored", "data/excluded stored", "data/failed stored", "data/failed/sub unchanged",
		"data/failed/sub/file unchanged", "data/stored unchanged", "data/vanished stored")
}

func TestExcludedSinceBaseline(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a/b": "", "c": ""})
	baseline := keep(collect(t, open(t, root, Options{}), nil))
	all := collect(t, open(t, root, Options{Excludes: []string{"a"}}), baseline)
	wantOutcomes(t, all, "data unchanged", "data/a excluded", "data/c unchanged")
}

func TestBaselineFails(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a/b/c": ""})
	for _, at := range []string{"data", "data/a", "data/a/b/c"} {
		baseline := keep(collect(t, open(t, root, Options{}), nil))
		baseline.hook = func(path string) error {
			if path == at {
				return errTest
			}
			return nil
		}
		err := open(t, root, Options{}).Scan(t.Context(), baseline, discard)
		if !errors.Is(err, errTest) || !strings.Contains(err.Error(), "already held of data") {
			t.Errorf("%q: %v", at, err)
		}
	}
}

// An unsorted baseline is not believed.
func TestUnsortedBaseline(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a": "", "b": "", "c": ""})
	baseline := keep(collect(t, open(t, root, Options{}), nil))
	slices.Reverse(baseline.entries[1:])
	if err := open(t, root, Options{}).Scan(t.Context(), baseline, discard); !errors.Is(err, capstan.ErrDamaged) {
		t.Errorf("%v", err)
	}
}

// A large directory comes out of the baseline page by page, and the join is the same.
func TestBaselineOfLargeDirectory(t *testing.T) {
	t.Parallel()
	names := map[string]string{}
	for i := range 5*heldPage/2 + 3 {
		name := fmt.Sprintf("%05d", i)
		if i%7 == 0 {
			name += "/below"
		}
		names[name] = ""
	}
	root := tree(t, names)
	baseline := keep(collect(t, open(t, root, Options{}), nil))
	want := map[string]capstan.Outcome{}
	for _, e := range baseline.entries {
		want[e.Path] = capstan.OutcomeUnchanged
	}
	delete(want, "data") // its time changes
	for i := range 5 * heldPage / 2 {
		path := fmt.Sprintf("%05d", i)
		switch {
		case i%7 != 0 && i%10 == 3, i > heldPage && i < 2*heldPage && i%7 != 0:
			must(t, os.Remove(filepath.Join(root, path)))
			want["data/"+path] = capstan.OutcomeDeleted
		case i%14 == 0:
			must(t, os.RemoveAll(filepath.Join(root, path)))
			want["data/"+path] = capstan.OutcomeDeleted
			delete(want, "data/"+path+"/below")
		case i%10 == 4:
			write(t, filepath.Join(root, path+" new"), "")
			want["data/"+path+" new"] = capstan.OutcomeStored
		}
	}
	for _, g := range collect(t, open(t, root, Options{}), baseline) {
		if g.Path != "data" && g.Outcome != want[g.Path] {
			t.Errorf("%s is %s, want %s", g.Path, g.Outcome, want[g.Path])
		}
		delete(want, g.Path)
	}
	for path := range want {
		t.Errorf("%s is missing", path)
	}
}
