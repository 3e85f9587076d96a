package daemon_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan"
	"capstan/internal/archive"
	"capstan/internal/daemon"
	"capstan/internal/envelope"
	"capstan/internal/pipeline"
)

// vault is a home with a full set and an incremental one on a volume, to be damaged,
// and all that is known of where their entries lie.
type vault struct {
	*testing.T
	*daemon.Daemon
	dir, data, vol string
	sets           []capstan.SetID
	archives       []*victim
	held           map[string]capstan.SetID // which set holds the entry's content, as the last set has it
	links          map[string]bool          // hard links
	random         *rand.Rand
	failed         int
	damaged        int // how often something was
	restored       int // how often that was tried
	lost           int // entries, in all of that
}

// victim is an archive that is damaged.
type victim struct {
	info    capstan.Archive
	path    string
	good    []byte
	entries []stored
	frames  []frame
	header  int   // where the content of an encrypted file begins; 0: it is not encrypted
	spots   []int // where small things stand
}

// stored is a range of the tar stream that belongs to an entry, to its last byte.
type stored struct {
	path     string
	from, to int64
}

// frame is a range of the file, without encryption, and of the tar stream.
type frame struct{ offset, size, start, length int64 }

func newVault(t *testing.T, codec capstan.Codec, encrypted bool) *vault {
	t.Helper()
	v := &vault{T: t, dir: t.TempDir(), held: map[string]capstan.SetID{}, links: map[string]bool{}, random: rand.New(rand.NewPCG(*flipSeed, 0))}
	v.data, v.vol = filepath.Join(v.dir, "data"), filepath.Join(v.dir, "vol")
	// Little memory makes frames small, so that an archive has several.
	d, err := daemon.Open(t.Context(), daemon.Options{Home: filepath.Join(v.dir, "home"), Memory: capstan.MiB})
	v.check(err)
	v.Daemon = d
	t.Cleanup(func() { v.check(d.Close()) })
	var to *envelope.Recipients
	if encrypted {
		key, err := envelope.NewKey()
		v.check(err)
		to, err = envelope.ParseRecipients([]string{key.Recipient()}, nil)
		v.check(err)
		d.Engine.Identities = envelope.IdentitiesOf(key)
	}
	v.plant()
	v.backup(codec, to, pipeline.Full)
	v.change()
	v.backup(codec, to, pipeline.Incremental)
	for _, set := range v.sets {
		v.survey(set, codec)
	}
	if n := len(v.archives); n < 3 {
		t.Fatalf("%d archives are too few", n)
	}
	v.healthy()
	return v
}

func (v *vault) check(err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
}

func (v *vault) get(path string) []byte {
	v.Helper()
	data, err := os.ReadFile(path)
	v.check(err)
	return data
}

func (v *vault) put(path string, data []byte) {
	v.Helper()
	v.check(os.MkdirAll(filepath.Dir(path), 0o755))
	v.check(os.WriteFile(path, data, 0o640))
}

// plant makes the tree: files of all sizes, some that compress and some that do not,
// one larger than an archive, one with holes, links, attributes, and what has no content.
func (v *vault) plant() {
	v.Helper()
	for i := range 40 {
		size := v.random.IntN(16_000)
		switch i % 8 {
		case 0:
			size = v.random.IntN(3)
		case 1:
			size = 512 * v.random.IntN(40)
		}
		v.put(v.file(i), v.bytes(size, i%2 == 0))
	}
	v.put(filepath.Join(v.data, "large"), v.bytes(700_000, true))
	v.put(filepath.Join(v.data, "noise"), v.bytes(250_000, false))
	v.check(os.Link(v.file(5), v.file(5)+" again"))
	v.check(os.Symlink("../elsewhere", filepath.Join(v.data, "symlink")))
	v.check(unix.Mkfifo(filepath.Join(v.data, "fifo"), 0o600))
	v.check(unix.Setxattr(v.file(7), "user.note", []byte("kept"), 0))
	sparse, err := os.Create(filepath.Join(v.data, "sparse"))
	v.check(err)
	for i := range int64(5) {
		_, err = sparse.WriteAt(v.bytes(8192, false), i<<16)
		v.check(err)
	}
	v.check(sparse.Truncate(1 << 19))
	v.check(sparse.Close())
}

func (v *vault) file(i int) string {
	return filepath.Join(v.data, fmt.Sprintf("dir-%d", i%3), fmt.Sprintf("file-%02d", i))
}

func (v *vault) bytes(n int, compresses bool) []byte {
	if !compresses {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(v.random.Uint32())
		}
		return data
	}
	var data []byte
	for len(data) < n {
		data = fmt.Appendf(data, "entry %d of volume %x\n", len(data), v.random.Uint64())
	}
	return data[:n]
}

// change makes what the incremental set holds.
func (v *vault) change() {
	v.Helper()
	for i := 3; i < 30; i += 9 {
		v.put(v.file(i), v.bytes(30_000, i%2 == 0))
	}
	v.check(os.Remove(v.file(4)))
	for i := 50; i < 60; i++ {
		v.put(v.file(i), v.bytes(25_000, i%2 == 0))
	}
}

func (v *vault) backup(codec capstan.Codec, to *envelope.Recipients, mode pipeline.Mode) {
	v.Helper()
	volumes, err := v.Volumes(v.Context(), []string{v.vol})
	v.check(err)
	sources, err := v.Sources([]string{v.data}, []string{v.vol}, daemon.SourceOptions{})
	v.check(err)
	summary, err := v.Engine.Backup(v.Context(), pipeline.Backup{
		Job: "job", Sources: sources, Volumes: volumes, Codec: codec, Level: 1, ArchiveSize: 640 * capstan.KiB, Mode: mode, Recipients: to,
	})
	v.check(err)
	v.sets = append(v.sets, summary.Set)
}

// survey notes where everything of a set lies.
func (v *vault) survey(set capstan.SetID, codec capstan.Codec) {
	v.Helper()
	archives, err := v.Catalog.Archives(v.Context(), set)
	v.check(err)
	byNumber := map[capstan.ArchiveNumber]*victim{}
	for _, info := range archives {
		a := &victim{info: info, path: filepath.Join(v.vol, string(set), info.Name)}
		a.good = v.get(a.path)
		byNumber[info.Number] = a
		v.archives = append(v.archives, a)
	}
	for e, err := range v.Catalog.Walk(v.Context(), set, "") {
		v.check(err)
		if e.Kind == capstan.KindHardlink {
			v.links[e.Path] = true
		}
		if e.Outcome == capstan.OutcomeDeleted || e.Archive == 0 {
			delete(v.held, e.Path)
			continue
		}
		v.held[e.Path] = set
		places := []capstan.Location{e.Location}
		if len(e.Parts) > 0 {
			places = nil
			for _, part := range e.Parts {
				places = append(places, part.Location)
			}
		}
		for _, place := range places {
			a := byNumber[place.Archive]
			a.entries = append(a.entries, stored{path: e.Path, from: place.Offset})
		}
	}
	for _, a := range byNumber {
		slices.SortFunc(a.entries, func(a, b stored) int { return int(a.from - b.from) })
		for i := range a.entries {
			a.entries[i].to = a.info.TarSize
			if i+1 < len(a.entries) {
				a.entries[i].to = a.entries[i+1].from
			}
		}
		v.frame(a, codec)
	}
}

// frame notes where an archive's frames lie.
func (v *vault) frame(a *victim, codec capstan.Codec) {
	v.Helper()
	content := a.good
	if strings.HasSuffix(a.info.Name, envelope.Suffix) {
		a.header = bytes.Index(a.good, []byte("\n--- ")) + len("\n--- ")
		a.header += bytes.IndexByte(a.good[a.header:], '\n') + 1 + 16 // the last line, and the nonce
		plain, err := v.Engine.Identities.OpenAt(bytes.NewReader(a.good), int64(len(a.good)))
		v.check(err)
		content = make([]byte, plain.Size())
		_, err = plain.ReadAt(content, 0)
		v.check(err)
	}
	a.spots = []int{0, 64, a.header, len(a.good) - 16, len(a.good) - 80}
	if codec == capstan.CodecNone {
		for _, e := range a.entries {
			a.spots = append(a.spots, a.place(e.from))
		}
		return
	}
	r, err := archive.OpenReader(bytes.NewReader(content), int64(len(content)), codec)
	v.check(err)
	for _, f := range r.Frames() {
		a.frames = append(a.frames, frame{f.Offset, f.Size, f.Start, f.Length})
		a.spots = append(a.spots, a.place(f.Offset), a.place(f.Offset+f.Size))
	}
}

// The chunks of an encrypted file (docs/format-encryption.md).
const chunk, tag = 65536, 16

// place is where a byte of the content stands in the file.
func (a *victim) place(at int64) int {
	if a.header == 0 {
		return int(at)
	}
	return a.header + int(at/chunk*(chunk+tag)+at%chunk)
}

// costs gives the entries that lie in what was damaged: all that may be lost.
func (a *victim) costs(v *vault, bad []byte) map[string]bool {
	lost := map[string]bool{}
	for _, e := range a.entries {
		if a.hit(bad, e.from, e.to) {
			lost[e.path] = true
		}
	}
	for link := range v.links { // it needs the first name
		first, found, err := v.Catalog.Entry(v.Context(), v.held[link], link)
		v.check(err)
		if found && lost[first.Link] {
			lost[link] = true
		}
	}
	return lost
}

// hit reports whether a range of the tar stream lies in damage, to the frame.
func (a *victim) hit(bad []byte, from, to int64) bool {
	if a.frames == nil {
		return a.changed(bad, from, to)
	}
	for _, f := range a.frames {
		if from < f.start+f.length && f.start < to && a.changed(bad, f.offset, f.offset+f.size) {
			return true
		}
	}
	return false
}

// changed reports whether a range of the content is not what was written, to the
// chunk of an encrypted file.
func (a *victim) changed(bad []byte, from, to int64) bool {
	if a.header == 0 {
		return differs(a.good, bad, int(from), int(to))
	}
	if differs(a.good, bad, 0, a.header) {
		return true
	}
	return differs(a.good, bad, a.place(from/chunk*chunk), a.place((to-1)/chunk*chunk)+chunk+tag)
}

// differs compares a range of two files; what one of them lacks differs.
func differs(good, bad []byte, from, to int) bool {
	to = min(to, len(good))
	return from < to && (to > len(bad) || !bytes.Equal(good[from:to], bad[from:to]))
}
