package files

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan"
)

// A source can be anything that has a path.
func TestSingleSources(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"file": "content", "dir/x": "", "large": strings.Repeat("l", smallContent+1), "empty": ""})
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, os.Symlink("file", at("to-file")))
	must(t, os.Symlink("dir", at("to-dir")))
	must(t, unix.Mkfifo(at("fifo"), 0o600))
	must(t, unix.Mknod(at("socket"), unix.S_IFSOCK|0o600, 0))
	cases := []struct {
		path    string
		kind    capstan.EntryKind
		content int
		want    []string
	}{
		{at("file"), capstan.KindFile, 7, []string{"file stored"}},
		{at("large"), capstan.KindFile, smallContent + 1, []string{"large stored"}},
		{at("empty"), capstan.KindFile, 0, []string{"empty stored"}},
		{at("to-file"), capstan.KindFile, 7, []string{"to-file stored"}},
		{at("to-dir"), capstan.KindDir, 0, []string{"to-dir stored", "to-dir/x stored"}},
		{at("fifo"), capstan.KindFifo, 0, []string{"fifo stored"}},
		{at("socket"), capstan.KindSocket, 0, []string{"socket excluded"}},
		{"/dev/null", capstan.KindCharDevice, 0, []string{"null stored"}},
	}
	for _, c := range cases {
		s := open(t, c.path, Options{OneFileSystem: true})
		all := collect(t, s, nil)
		wantOutcomes(t, all, c.want...)
		if all[0].Kind != c.kind || len(all[0].content) != c.content || all[0].Host != c.path {
			t.Errorf("%s: %s, %d bytes, %s", c.path, all[0].Kind, len(all[0].content), all[0].Host)
		}
		if c.kind == capstan.KindSocket {
			continue
		}
		again := collect(t, s, keep(all))
		wantOutcomes(t, again, strings.Split(strings.ReplaceAll(strings.Join(c.want, "\n"), "stored", "unchanged"), "\n")...)
	}
}

// The device directory has other filesystems mounted in it.
func TestOneFileSystem(t *testing.T) {
	t.Parallel()
	var here unix.Stat_t
	must(t, unix.Stat("/dev", &here))
	names, err := os.ReadDir("/dev")
	must(t, err)
	var mounts []string
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Lstat("/dev/"+name.Name(), &st); err == nil && st.Dev != here.Dev {
			mounts = append(mounts, "dev/"+name.Name())
		}
	}
	if !slices.Contains(mounts, "dev/pts") {
		t.Fatalf("no mounts in /dev: %q", mounts)
	}
	all := collect(t, open(t, "/dev", Options{OneFileSystem: true}), nil)
	for _, g := range all {
		dir, _ := capstan.SplitPath(g.Path)
		if slices.Contains(mounts, dir) {
			t.Errorf("%s is on another filesystem", g.Path)
		}
		if slices.Contains(mounts, g.Path) && g.Kind == capstan.KindDir && !strings.Contains(g.Reason, "another filesystem") {
			t.Errorf("%s: %s %s", g.Path, g.Outcome, g.Reason)
		}
	}
	if g := byPath(t, all, "dev/pts"); g.Kind != capstan.KindDir || g.Outcome != capstan.OutcomeStored {
		t.Errorf("dev/pts: %s %s", g.Kind, g.Outcome)
	}
	byPath(t, all, "dev/null")

	// What an earlier run without the option held there is deleted.
	crossing := collect(t, open(t, "/dev", Options{Excludes: []string{"/shm", "/fd"}}), nil)
	byPath(t, crossing, "dev/pts/ptmx")
	later := collect(t, open(t, "/dev", Options{OneFileSystem: true}), keep(crossing))
	if g := byPath(t, later, "dev/pts/ptmx"); g.Outcome != capstan.OutcomeDeleted {
		t.Errorf("dev/pts/ptmx: %s", g.Outcome)
	}
}

// Files of sysfs claim a size that they do not have, and some refuse to be read.
func TestFilesThatLie(t *testing.T) {
	t.Parallel()
	g := collect(t, open(t, "/sys/class/net/lo/mtu", Options{}), nil)[0]
	want, err := os.ReadFile("/sys/class/net/lo/mtu")
	must(t, err)
	if g.Outcome != capstan.OutcomeChanged || string(g.content) != string(want) || g.Size != int64(len(want)) || g.Reason != "gave 6 of its 4096 bytes" {
		t.Errorf("%s %q: %d bytes %q", g.Outcome, g.Reason, g.Size, g.content)
	}
	g = collect(t, open(t, "/sys/class/net/lo/speed", Options{}), nil)[0]
	if g.Outcome != capstan.OutcomeFailed || g.Reason != "read: invalid argument" || g.content != nil || g.Size == 0 {
		t.Errorf("%s %q", g.Outcome, g.Reason)
	}
	g = collect(t, open(t, "/proc/self/status", Options{}), nil)[0]
	if g.Outcome != capstan.OutcomeStored || g.Size != 0 || len(g.content) != 0 {
		t.Errorf("%s %q, %d bytes", g.Outcome, g.Reason, g.Size)
	}
	// Reading this one fails with EIO at offset 0, but its size is 0 as well.
	g = collect(t, open(t, "/proc/self/mem", Options{}), nil)[0]
	if g.Outcome != capstan.OutcomeStored || g.Size != 0 {
		t.Errorf("%s %q, %d bytes", g.Outcome, g.Reason, g.Size)
	}
}

func TestThinExtents(t *testing.T) {
	t.Parallel()
	var data []capstan.Extent
	for i := range int64(1000) { // holes of 4 to 20 KiB in turn
		last := int64(0)
		if len(data) > 0 {
			last = data[len(data)-1].Offset + data[len(data)-1].Length
		}
		data = joinExtent(data, last+(i%5+1)<<12, last+(i%5+1)<<12+4096, 0)
	}
	first, last := data[0], data[len(data)-1]
	thin, below := thinExtents(slices.Clone(data))
	if len(thin) != 201 || below != 16<<10 || thin[0].Offset != first.Offset ||
		thin[len(thin)-1].Offset+thin[len(thin)-1].Length != last.Offset+last.Length {
		t.Errorf("%d ranges left, holes up to %d dropped", len(thin), below)
	}
	for i := 1; i < len(thin); i++ {
		if hole := thin[i].Offset - thin[i-1].Offset - thin[i-1].Length; hole <= below {
			t.Errorf("a hole of %d is left", hole)
		}
	}
}
