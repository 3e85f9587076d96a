package pipeline

import (
	"context"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"

	"capstan"
	"capstan/internal/manifest"
	"capstan/internal/progress"
)

// draft is the set's manifest on its way: its entries are compressed beside the
// packing, into a nameless file of the home, so that the end of the run need not
// read all of them from the catalog again. It holds what the catalog's writer was
// given. Where that is not the same as what the catalog then holds (a resumed set,
// a path that came twice), and where the file cannot be written, there is no draft
// and the manifest is made from the catalog.
type draft struct {
	name string

	mu      sync.Mutex
	file    *os.File
	lines   *manifest.Draft
	guide   manifest.Guide // what it has learned of the entries
	entries int64          // set by end
	bad     bool
}

// newDraft begins the draft of a set that has no entries yet; nil if there is none.
func (r *backupRun) newDraft() *draft {
	name := filepath.Join(filepath.Dir(r.Catalog.Path()), "draft-"+string(r.set.ID)+".zst")
	if r.resumed {
		_ = os.Remove(name) // of a run that was killed where files in use keep their names
		return nil
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil
	}
	_ = os.Remove(name) // Windows does so when it is closed
	lines, err := manifest.NewDraft(homeFile{file, r})
	if err != nil {
		_ = file.Close() // it is empty
		return nil
	}
	return &draft{name: name, file: file, lines: lines}
}

// add takes entries as the catalog gets them.
func (d *draft) add(entries []capstan.Entry) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range entries {
		if d.bad {
			return
		}
		d.guide.See(&entries[i])
		d.bad = d.lines.Add(&entries[i]) != nil
	}
}

// end says that nothing comes any more, and whether the catalog holds what came.
// It reports whether the draft stands for the set's entries; if it does not, it is
// closed.
func (d *draft) end(good bool) bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if good && !d.bad {
		var err error
		d.entries, err = d.lines.Close()
		good = err == nil
	}
	if !good || d.bad {
		d.bad = true
		d.remove()
		return false
	}
	return true
}

// remove lets go of the file.
func (d *draft) remove() {
	_ = d.file.Close() // nobody needs it any more
	_ = os.Remove(d.name)
}

// letGo is remove at the end of the run, which waits no longer for a disk that does not
// answer than it does for a volume.
func (d *draft) letGo(ctx context.Context) {
	_, _ = within(context.WithoutCancel(ctx), true, func(context.Context) (struct{}, error) {
		d.remove()
		return struct{}{}, nil
	})
}

// write writes a manifest of the draft's entries; several may at once.
func (d *draft) write(w io.Writer, set capstan.Set, archives []capstan.Archive) error {
	return manifest.WriteDraft(w, set, archives, io.NewSectionReader(d.file, 0, math.MaxInt64), d.entries)
}

// homeFile declares that the writing waits for the disk of the home.
type homeFile struct {
	*os.File
	run *backupRun
}

func (f homeFile) Write(b []byte) (int, error) {
	defer f.run.Tracker.Stage(stageWrite).Wait(progress.ForCatalog, "")()
	return f.File.Write(b)
}
