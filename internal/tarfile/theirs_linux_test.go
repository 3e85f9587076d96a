package tarfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan"
)

// theirTree makes a tree for stock programs to pack: names, sizes, links and holes
// drawn from a seed.
func theirTree(t *testing.T, seed uint64) string {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"plain", "日本語", "sp ace", "-dash", "new\nline", "caf\xe9", "back\\slash", strings.Repeat("n", 99), strings.Repeat("m", 101), strings.Repeat("w", 255), "quo\"te", "*?["}
	var files []string
	for d := range 4 {
		parent := filepath.Join(dir, "t", strings.Repeat("deep-directory/", d*4), fmt.Sprintf("dir%d", d))
		check(os.MkdirAll(parent, 0o755))
		for i, name := range names {
			path := filepath.Join(parent, name)
			content := make([]byte, random.IntN(3)*random.IntN(3000))
			for at := range content {
				content[at] = byte(random.Uint32())
			}
			switch {
			case i == d:
				check(os.Symlink(strings.Repeat("../target", 1+random.IntN(20)), path))
				continue
			case i == d+1 && len(files) > 0:
				check(os.Link(files[random.IntN(len(files))], path))
				continue
			case i == d+2:
				file, err := os.Create(path)
				check(err)
				for hole := range int64(1 + random.IntN(8)) {
					_, err = file.WriteAt([]byte("data"), hole<<16+1<<15)
					check(err)
				}
				check(file.Truncate(1 << 19))
				check(file.Close())
			default:
				check(os.WriteFile(path, content, 0o600))
			}
			check(os.Chmod(path, os.FileMode(0o600|random.IntN(0o100))))
			at := time.Unix(1_600_000_000+random.Int64N(1<<27), random.Int64N(1e9))
			check(os.Chtimes(path, at, at))
			files = append(files, path)
		}
	}
	return dir
}

// Of what stock programs write in all their formats, our parser reads each entry as it
// was packed, or refuses it; and it reads all of the formats that it is made for.
func TestReadsTheirs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		dir := theirTree(t, seed)
		for _, form := range []struct {
			command string
			refused bool // entries may be
			exact   bool // times too, to the nanosecond
		}{
			{"tar --format=posix", false, true},
			{"tar --format=posix --sparse", false, true},
			{"tar --format=posix --sparse --sparse-version=0.0", true, true},
			{"tar --format=posix --sparse --sparse-version=0.1", true, true},
			{"tar --format=gnu", false, false},
			{"tar --format=gnu --sparse", true, false},
			{"tar --format=oldgnu", false, false},
			{"tar --format=ustar", false, false},
			{"tar --format=v7", true, false},
			{"bsdtar --format pax", false, true},
			{"bsdtar --format paxr", false, false},
			{"bsdtar --format gnutar", false, false},
			{"bsdtar --format ustar", false, false},
			{"bsdtar --format v7tar", true, false},
			{"bsdtar --format shar", true, false},
		} {
			words := append(strings.Fields(form.command), "-C", dir, "-cf", "-", "t")
			cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			stream, _ := cmd.Output() // it leaves out what does not fit the format, and says so
			all, err := readAll(stream)
			whole := errors.Is(err, io.EOF)
			if !whole && (!errors.Is(err, capstan.ErrDamaged) || !form.refused) {
				t.Errorf("%s, seed %d: after %d entries: %v", form.command, seed, len(all), err)
			}
			if len(all) < 50 && !form.refused {
				t.Errorf("%s, seed %d: %d entries were read", form.command, seed, len(all))
			}
			for i := range all {
				if problem := asPacked(dir, &all[i], form.exact); problem != "" {
					t.Errorf("%s, seed %d: %q %s", form.command, seed, all[i].Path, problem)
				}
			}
		}
	}
}

// asPacked compares an entry that was read with the file; empty: it is the same.
func asPacked(dir string, e *entryOf, exact bool) string {
	path := filepath.Join(dir, e.Path)
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err.Error()
	}
	kinds := map[capstan.EntryKind]uint32{capstan.KindFile: unix.S_IFREG, capstan.KindHardlink: unix.S_IFREG, capstan.KindDir: unix.S_IFDIR, capstan.KindSymlink: unix.S_IFLNK}
	if st.Mode&unix.S_IFMT != kinds[e.Kind] {
		return fmt.Sprintf("is a %s", e.Kind)
	}
	at := time.Unix(st.Mtim.Unix())
	if !exact && e.ModTime.Nanosecond() == 0 {
		at = at.Truncate(time.Second)
	}
	// Links have what the first name has.
	if e.Kind != capstan.KindHardlink && (!e.ModTime.Equal(at) || e.Mode != st.Mode&0o7777) {
		return fmt.Sprintf("has %v and %o, not %v and %o", e.ModTime, e.Mode, at, st.Mode&0o7777)
	}
	switch e.Kind {
	case capstan.KindSymlink:
		target, err := os.Readlink(path)
		// In its oldest formats GNU tar cuts a target to 100 bytes, and says so.
		cut := len(e.Link) == nameField && strings.HasPrefix(target, e.Link)
		if err != nil || target != e.Link && !cut {
			return fmt.Sprintf("leads to %q, not %q", e.Link, target)
		}
	case capstan.KindHardlink:
		var first unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, e.Link), &first); err != nil || first.Ino != st.Ino {
			return fmt.Sprintf("is no link to %q", e.Link)
		}
	case capstan.KindFile:
		want, err := os.ReadFile(path)
		if got, ok := e.whole(); err != nil || !ok || e.Size != st.Size || !bytes.Equal(got, want) {
			return fmt.Sprintf("has %d bytes of other content", e.Size)
		}
	default:
	}
	return ""
}

// What both stock programs take without a word, after a change somewhere, and our
// parser too, is the same: names, kinds, sizes, links, contents.
func TestChangedHeaders(t *testing.T) {
	t.Parallel()
	const seed = 11
	random := rand.New(rand.NewPCG(seed, 2))
	stream := pack(t, changeable())
	agreed := map[string]int{}
	for n := range 60 {
		changed := changeHeader(random, stream)
		ours, err := readAll(changed)
		if !errors.Is(err, io.EOF) {
			continue
		}
		for _, tool := range []string{"tar", "bsdtar"} {
			dir := t.TempDir()
			cmd := exec.CommandContext(t.Context(), tool, "--numeric-owner", "-xpf", "-", "-C", dir)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			cmd.Stdin = bytes.NewReader(changed)
			if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
				continue
			}
			agreed[tool]++
			for i := range ours {
				// The last of one name is what lies there.
				if slices.ContainsFunc(ours[i+1:], func(e entryOf) bool { return e.Path == ours[i].Path }) {
					continue
				}
				if problem := asPacked(dir, &ours[i], true); problem != "" {
					t.Errorf("change %d of seed %d: %s and we differ: %q %s", n, seed, tool, ours[i].Path, problem)
				}
			}
		}
	}
	if agreed["tar"] < 10 || agreed["bsdtar"] < 10 {
		t.Errorf("so often all took it: %v", agreed)
	}
}

// changeable are members with headers of all kinds, small enough to be hit.
func changeable() []member {
	return slices.DeleteFunc(members(), func(m member) bool {
		odd := m.entry.ModTime.Unix() < 1 || m.entry.ModTime.Unix() > 1<<33 // tools say that they marvel
		device := m.entry.Kind > capstan.KindHardlink
		return odd || device || len(m.content) > 10_000 || m.entry.Size > 100_000 || len(m.entry.Xattrs) > 0 || m.entry.ACL != "" || m.entry.DefaultACL != "" || m.entry.Kind == capstan.KindDir
	})
}

// changeHeader changes a few bytes of headers or of their records, to what could
// stand there, and makes the checksums right.
func changeHeader(random *rand.Rand, stream []byte) []byte {
	changed := bytes.Clone(stream)
	var blocks []int
	for at := 0; at+Block <= len(changed); at += Block {
		if IsHeader(changed[at : at+Block]) {
			blocks = append(blocks, at)
		}
	}
	for range 1 + random.IntN(3) {
		at := blocks[random.IntN(len(blocks))]
		switch random.IntN(4) {
		case 0: // a letter of the name
			changed[at+random.IntN(12)] = "abcxyz-_"[random.IntN(8)]
		case 1: // a digit of a number
			field := []int{offMode, offUID, offGID, offMtime}[random.IntN(4)]
			changed[at+field+4+random.IntN(3)] = byte('0' + random.IntN(8))
		case 2: // a byte behind a header: of its records, its map or its content
			if at+2*Block <= len(changed) {
				changed[at+Block+random.IntN(60)] ^= 1 << random.IntN(7)
			}
		default:
			changed[at+random.IntN(Block)] ^= 1 << random.IntN(8)
		}
	}
	return sealed(changed)
}
