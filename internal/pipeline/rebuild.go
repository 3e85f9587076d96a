package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"capstan"
	"capstan/internal/envelope"
	"capstan/internal/manifest"
	"capstan/internal/progress"
)

// Rebuild reads the manifests of a volume's sets into the catalog and gives the
// sets that it added. Sets that the catalog holds are left as they are; a set
// without sums was not finished and is passed over with a word. A damaged set is
// named, the others are read all the same, and the error is
// capstan.ErrIncomplete; if nothing is damaged, but a set is encrypted and no key
// opens it, capstan.ErrWrongKey.
func (e *Engine) Rebuild(ctx context.Context, volume capstan.Volume) ([]capstan.SetID, error) {
	stage := e.Tracker.Stage(stageRebuild)
	stage.Begin()
	defer stage.End()
	if err := e.Catalog.EnsureVolume(ctx, volume.Info()); err != nil {
		return nil, err
	}
	sets, err := volume.Sets(ctx)
	if err != nil {
		return nil, err
	}
	r := &rebuilding{Engine: e, volume: volume, follower: map[capstan.SetID]capstan.SetID{}}
	for _, id := range sets {
		stage.Object(string(id))
		if err := r.set(ctx, id); err != nil {
			return r.added, err
		}
		stage.Moved(0, 1)
	}
	return r.added, r.end()
}

// rebuilding is the state of one Rebuild.
type rebuilding struct {
	*Engine
	volume     capstan.Volume
	added      []capstan.SetID
	bad        int
	locked     int   // encrypted sets that did not open
	wrong      error // why the last of them did not
	unfinished []unfinishedSet
	follower   map[capstan.SetID]capstan.SetID // a set, and the one that was signed after it
}

// unfinishedSet is one without sums.
type unfinishedSet struct {
	id  capstan.SetID
	why error
}

// set reads one set. What is wrong with it is told and counted; the error is the
// cause of ctx.
func (r *rebuilding) set(ctx context.Context, id capstan.SetID) error {
	at := fmt.Sprintf("set %s on %s", id, r.volume.Info().Location)
	imported, err := r.importSet(ctx, id)
	switch {
	case err == nil && imported:
		r.added = append(r.added, id)
	case err == nil:
		if _, forgotten, _ := r.Catalog.WasForgotten(ctx, id); forgotten {
			r.Say("%s was forgotten, and is about to be removed: passed over", at)
		}
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist):
		if _, forgotten, _ := r.Catalog.WasForgotten(ctx, id); !forgotten {
			r.unfinished = append(r.unfinished, unfinishedSet{id, err})
		}
	case errors.Is(err, capstan.ErrWrongKey) && r.knows(ctx, id):
		r.Say("%s is in the catalog already; its manifest was not read: %v", at, err)
	case errors.Is(err, capstan.ErrWrongKey):
		r.locked, r.wrong = r.locked+1, err
		r.Say("%s: %v", at, err)
	default:
		r.bad++
		r.Say("%s cannot be read: %v", at, err)
	}
	return nil
}

// end judges the sets without sums: a home signs a set after another one only when
// that has its sums, so one that another was signed after did have them. It gives
// what the whole rebuild comes to.
func (r *rebuilding) end() error {
	location := r.volume.Info().Location
	for _, set := range r.unfinished {
		if after := r.follower[set.id]; after != "" {
			r.bad++
			r.Say("set %s on %s cannot be read: set %s was signed after it, so it was finished; its %s was taken away, or its home had begun to remove it", set.id, location, after, manifest.SumsName)
			continue
		}
		r.Say("set %s on %s was not finished (%v): passed over; its own home can resume it", set.id, location, set.why)
	}
	if r.bad > 0 {
		return &capstan.Error{
			Class: capstan.ErrIncomplete, Op: "rebuild from", Object: location,
			Err: fmt.Errorf("%d sets cannot be read", r.bad), Safe: "the others are in the catalog",
		}
	}
	if r.locked > 1 {
		r.Say("%d sets are encrypted to keys that were not given", r.locked)
	}
	return r.wrong
}

// importSet reads one set's manifest, proven by its sums and signature. It reports
// false when the catalog holds the set already. A set without sums is fs.ErrNotExist.
func (r *rebuilding) importSet(ctx context.Context, id capstan.SetID) (imported bool, err error) {
	e, volume := r.Engine, r.volume
	own, err := e.readSums(ctx, volume, id)
	if err != nil {
		return false, err
	}
	if own.statement.Previous != "" {
		r.follower[own.statement.Previous] = id
	}
	reader, closeAll, err := e.openManifest(ctx, volume, id, own.sums)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	set := reader.Set()
	if set.ID != id {
		return false, fmt.Errorf("%w: its manifest is that of set %s", capstan.ErrDamaged, set.ID)
	}
	if set.Status != capstan.RunComplete && set.Status != capstan.RunPartial {
		return false, fmt.Errorf("%w: its manifest says that the set is %s", capstan.ErrDamaged, set.Status)
	}
	if own.stranger {
		e.Say("set %s was signed by another home (key …%s)", id, tail(own.statement.Key))
	}
	imported, err = e.Catalog.Import(ctx, set, reader.Archives(), volume.Info().ID, e.counted(reader.Entries()))
	if err != nil || own.stranger {
		return imported, err
	}
	return imported, e.keepSums(ctx, id, volume.Info().ID, own.statement.Sums)
}

// knows reports whether the catalog holds a set.
func (e *Engine) knows(ctx context.Context, id capstan.SetID) bool {
	_, err := e.Catalog.Set(ctx, id)
	return err == nil
}

// keepSums records the sums of a set of this home's own on a volume, so that the
// next set is signed after it. One that is older than what the catalog knows there
// has been followed already.
func (e *Engine) keepSums(ctx context.Context, id capstan.SetID, volume capstan.VolumeID, sum capstan.Hash) error {
	last, _, err := e.Catalog.LastSums(ctx, volume, "")
	if err != nil || last >= id {
		return err
	}
	return e.Catalog.SetSums(ctx, id, volume, sum)
}

// openManifest reads the beginning of a set's manifest, in the clear or encrypted,
// after its bytes were proven. The caller calls closeAll when the error is nil.
func (e *Engine) openManifest(ctx context.Context, volume capstan.Volume, id capstan.SetID, sums []manifest.Sum) (_ *manifest.Reader, closeAll func() error, err error) {
	sum, found := findSum(sums, manifest.Name)
	if !found {
		sum, found = findSum(sums, manifest.Name+envelope.Suffix)
	}
	if !found {
		return nil, nil, fmt.Errorf("%w: %s does not list %s", capstan.ErrDamaged, manifest.SumsName, manifest.Name)
	}
	file, err := volume.Open(ctx, id, sum.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: %s lists %s, and it is missing", capstan.ErrDamaged, manifest.SumsName, sum.Name)
	}
	if err != nil {
		return nil, nil, err
	}
	var content io.Reader
	if err = proveManifest(ctx, io.TeeReader(io.NewSectionReader(file, 0, file.Size()), heartbeat{e.Tracker.Stage(stageRebuild)}), sum); err == nil {
		content = io.NewSectionReader(file, 0, file.Size())
		if sum.Name != manifest.Name {
			content, err = e.Identities.Reader(content)
			err = e.locked(ctx, id, err)
		}
	}
	var reader *manifest.Reader
	if err == nil {
		reader, err = manifest.NewReader(content)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return reader, func() error {
		reader.Close()
		return file.Close()
	}, nil
}

func findSum(sums []manifest.Sum, name string) (manifest.Sum, bool) {
	for _, sum := range sums {
		if sum.Name == name {
			return sum, true
		}
	}
	return manifest.Sum{}, false
}

// proveManifest compares the manifest's bytes with its sum before any of it is
// believed.
func proveManifest(ctx context.Context, content io.Reader, sum manifest.Sum) error {
	hash := sha256.New()
	if _, err := io.Copy(hash, content); err != nil {
		return fmt.Errorf("%s: %w", sum.Name, err)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if capstan.Hash(hash.Sum(nil)) != sum.Hash {
		return fmt.Errorf("%w: %s is not the one in %s", capstan.ErrDamaged, sum.Name, manifest.SumsName)
	}
	return nil
}

// heartbeat moves a stage by what is written to it.
type heartbeat struct{ stage *progress.Stage }

func (h heartbeat) Write(b []byte) (int, error) {
	h.stage.Moved(capstan.Bytes(len(b)), 0)
	return len(b), nil
}

// countedEntries is after how many entries a rebuild has moved.
const countedEntries = 1000

// counted moves the rebuild by the entries that are taken.
func (e *Engine) counted(entries iter.Seq2[capstan.Entry, error]) iter.Seq2[capstan.Entry, error] {
	stage := e.Tracker.Stage(stageRebuild)
	return func(yield func(capstan.Entry, error) bool) {
		n := 0
		for entry, err := range entries {
			if n++; n%countedEntries == 0 {
				stage.Moved(0, 0)
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}
