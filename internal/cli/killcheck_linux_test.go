package cli_test

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"capstan"
	"capstan/internal/catalog"
)

// recorded is what the catalog knows of a set.
type recorded struct {
	capstan.Set
	archives []capstan.Archive
	copies   []capstan.Copy
	demands  []capstan.Demand
	entries  []capstan.Entry
}

// good reports whether a copy is on its volume.
func good(c capstan.Copy) bool {
	return c.State == capstan.CopyWritten || c.State == capstan.CopyVerified
}

// records are the sets that the catalog has, the newest first, and where volumes are.
type records struct {
	sets      []recorded
	locations map[capstan.VolumeID]string
}

// look reads the catalog.
func (l *killLane) look() (r records) {
	l.t.Helper()
	r.locations = map[capstan.VolumeID]string{}
	l.inCatalog(func(ctx context.Context, c *catalog.Catalog) error {
		all, err := c.Sets(ctx, catalog.SetFilter{})
		for _, info := range all {
			if err != nil {
				return err
			}
			set := recorded{Set: info.Set}
			var errs [3]error
			set.archives, errs[0] = c.Archives(ctx, info.ID)
			set.copies, errs[1] = c.Copies(ctx, info.ID)
			set.demands, errs[2] = c.Demands(ctx, info.ID)
			for entry, walkErr := range c.Walk(ctx, info.ID, "") {
				err = errors.Join(err, walkErr)
				set.entries = append(set.entries, entry)
			}
			err = errors.Join(err, errors.Join(errs[:]...))
			r.sets = append(r.sets, set)
		}
		volumes, err := c.Volumes(ctx)
		for _, volume := range volumes {
			r.locations[volume.ID] = volume.Location
		}
		return err
	})
	return r
}

// entries gives all that complete sets hold, as one text a set.
func (l *killLane) entries(r records) map[string]string {
	l.t.Helper()
	all := map[string]string{}
	for _, set := range r.sets {
		if set.Status != capstan.RunComplete {
			continue
		}
		text, err := json.Marshal(set.entries)
		if err != nil {
			l.t.Fatal(err)
		}
		all[string(set.ID)] = string(text)
	}
	return all
}

// remembered expects that the catalog has all entries of the sets that were
// acknowledged, as they were then.
func (l *killLane) remembered(s spot, r records) {
	l.t.Helper()
	now := l.entries(r)
	for set, was := range l.known {
		if now[set] != was {
			l.t.Errorf("killed %s; set %s was complete, and held\n%s\nnow it holds\n%s", s, set, was, now[set])
		}
	}
}

// written are the archives that the catalog knows to be somewhere: what lies on
// volumes, by path, and of all the sums.
type written struct {
	files map[string]onDisk
	sums  map[string]capstan.Hash
}

func (l *killLane) written(r records) written {
	l.t.Helper()
	w := written{map[string]onDisk{}, map[string]capstan.Hash{}}
	for _, set := range r.sets {
		names := map[capstan.ArchiveNumber]string{}
		told := map[capstan.ArchiveNumber]int64{} // entries and parts of entries
		for _, e := range set.entries {
			for _, part := range e.Parts {
				told[part.Archive]++
			}
			if len(e.Parts) == 0 {
				told[e.Archive]++
			}
		}
		for _, a := range set.archives {
			if told[a.Number] == a.Entries { // else a file begins in it whose end is nowhere yet: it is packed again
				w.sums[a.Name], names[a.Number] = a.Hash, a.Name
			}
		}
		for volume, location := range r.locations {
			there := archives(l.t, location, string(set.ID))
			for _, c := range set.copies {
				if c.Volume == volume && good(c) && names[c.Number] != "" {
					w.files[filepath.Join(location, string(set.ID), names[c.Number])] = there[names[c.Number]]
				}
			}
		}
	}
	return w
}

// untouched expects that what was written and recorded before is so still: it was
// adopted, not written once more.
func (l *killLane) untouched(before written, r records) {
	l.t.Helper()
	now := l.written(r)
	for name, sum := range before.sums {
		if now.sums[name] != sum {
			l.t.Errorf("%s had the sum %x, and has %x", name, sum, now.sums[name])
		}
	}
	for path, file := range before.files {
		if now.files[path] != file {
			l.t.Errorf("%s was %+v, and is %+v", path, file, now.files[path])
		}
	}
}

// storedOnce expects that the archives of every set hold what the catalog says, each
// once, as a stock reader sees it.
func (l *killLane) storedOnce(r records) {
	l.t.Helper()
	for _, set := range r.sets {
		if l.known[string(set.ID)] != "" {
			continue // looked at before; verify compares the archives' sums
		}
		var want, found []string
		for _, e := range set.entries {
			for n := range e.Parts {
				want = append(want, fmt.Sprintf("%s.capstan-part-%04d", e.Path, n+1))
			}
			if e.Outcome.Held() && len(e.Parts) == 0 {
				want = append(want, e.Path)
			}
		}
		for _, a := range set.archives {
			found = append(found, l.names(filepath.Join(l.vol, string(set.ID), a.Name))...)
		}
		slices.Sort(want)
		slices.Sort(found)
		if !slices.Equal(want, found) {
			l.t.Errorf("set %s: the archives hold\n%q\nthe catalog has\n%q", set.ID, found, want)
		}
	}
}

// names lists what an archive holds.
func (l *killLane) names(path string) (names []string) {
	l.t.Helper()
	file, err := os.Open(path)
	if err != nil {
		l.t.Error(err)
		return nil
	}
	defer file.Close()
	var content io.Reader = file
	if l.encrypted {
		key, err := os.Open(l.key)
		if err != nil {
			l.t.Fatal(err)
		}
		defer key.Close()
		identities, err := age.ParseIdentities(key)
		if err == nil {
			content, err = age.Decrypt(file, identities...)
		}
		if err != nil {
			l.t.Fatalf("%s: %v", path, err)
		}
	}
	plain, err := zstd.NewReader(content, zstd.WithDecoderConcurrency(1))
	if err != nil {
		l.t.Fatal(err)
	}
	defer plain.Close()
	for entries := tar.NewReader(plain); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			l.t.Errorf("%s: %v", path, err)
			return names
		}
		names = append(names, strings.TrimSuffix(header.Name, "/"))
	}
}

// nothingElse expects that volumes, stage and home hold what the catalog knows, and
// no more, but for a marker or a key that was being made when the kill came: it stays
// beside the one that was made then.
func (l *killLane) nothingElse(s spot, r records) {
	l.t.Helper()
	for id, location := range r.locations {
		must, may := []string{"capstan-volume.json"}, []string{}
		for i := range r.sets {
			files, others := r.sets[i].filesOn(id, l.encrypted)
			must, may = append(must, files...), append(may, others...)
		}
		found := everything(l.t, location)
		for _, path := range found {
			if !slices.Contains(must, path) && !slices.Contains(may, path) && !strings.HasPrefix(path, ".capstan-volume.json.") {
				l.t.Errorf("killed %s; on %s and unknown: %s", s, location, path)
			}
		}
		for _, path := range must {
			if !slices.Contains(found, path) {
				l.t.Errorf("killed %s; not on %s: %s", s, location, path)
			}
		}
	}
	if l.staged {
		for _, path := range everything(l.t, filepath.Join(l.dir, "stage")) {
			if !slices.Contains([]string{"capstan-stage.json", "final", "temp", "ledger", "ledger/lock"}, path) && !strings.HasPrefix(path, ".capstan-stage.json.") {
				l.t.Errorf("killed %s; left in the stage: %s", s, path)
			}
		}
	}
	for _, path := range everything(l.t, filepath.Join(l.dir, "home")) {
		if !strings.HasPrefix(path, "catalog.db") && path != "locks" && filepath.Dir(path) != "locks" && path != "signing-key.pem" &&
			path != "log" && filepath.Dir(path) != "log" && !strings.HasPrefix(path, ".signing-key.pem.") {
			l.t.Errorf("killed %s; left in the home: %s", s, path)
		}
	}
}

// filesOn lists what must be on a volume of a set, and what may.
func (r *recorded) filesOn(volume capstan.VolumeID, encrypted bool) (must, may []string) {
	demand := slices.IndexFunc(r.demands, func(d capstan.Demand) bool { return d.Volume == volume })
	dir := string(r.ID)
	if demand < 0 {
		return nil, nil
	}
	for _, c := range r.copies {
		if at := slices.IndexFunc(r.archives, func(a capstan.Archive) bool { return a.Number == c.Number }); at >= 0 && c.Volume == volume && good(c) {
			must = append(must, dir+"/"+r.archives[at].Name)
		}
	}
	if r.demands[demand].State == capstan.CopyForgotten { // the set was abandoned there
		return must, []string{dir, dir + "/.capstan-owner.json"}
	}
	must = append(must, dir)
	for _, name := range []string{".capstan-owner.json", "RESTORE.txt", "SHA256SUMS", "SHA256SUMS.sig"} {
		must = append(must, dir+"/"+name)
	}
	sealed := []string{"catalog.sqlite", "manifest.json.zst"}
	if encrypted {
		sealed = append(sealed, "RESTORE.txt")
	}
	for _, name := range sealed {
		if encrypted {
			name += ".age"
		}
		must = append(must, dir+"/"+name)
	}
	return must, []string{dir + "/DELETED", dir + "/DELETED.age"}
}
