package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"capstan"
	"capstan/internal/archive"
	"capstan/internal/stage"
)

// setReader opens the archives of one set as they are needed, from whichever
// volume has a good copy. One goroutine uses it; the readers it gives serve several.
type setReader struct {
	engine  *Engine
	set     capstan.SetID
	known   capstan.Set      // what the catalog knows of it; empty: not asked yet
	rotates bool             // a rotation is open: some files have other recipients
	fits    bool             // the key opened an archive of the set
	only    capstan.VolumeID // when set, no other volume is read
	volumes map[capstan.VolumeID]capstan.Volume
	open    map[capstan.ArchiveNumber]*openArchive
	scratch *archive.Scratch // of all readers
	staged  *stage.Stage     // that holds archives of the set; nil: none, or not asked for yet
	asked   bool             // for the stage
}

// openArchive is an archive's reader and the file below it.
type openArchive struct {
	*archive.Reader
	file capstan.VolumeReader
	info capstan.Archive
}

// readers are the readers of all sets of a chain. One goroutine uses them.
type readers struct {
	engine  *Engine
	sets    map[capstan.SetID]*setReader
	scratch archive.Scratch
}

func (e *Engine) newReaders() *readers {
	return &readers{engine: e, sets: map[capstan.SetID]*setReader{}}
}

// of gives the reader of one set; it stays open until close.
func (r *readers) of(set capstan.SetID) *setReader {
	reader := r.sets[set]
	if reader == nil {
		reader = r.engine.newSetReader(set)
		reader.scratch = &r.scratch
		r.sets[set] = reader
	}
	return reader
}

func (r *readers) close() error {
	var errs []error
	for set, reader := range r.sets {
		errs = append(errs, reader.close())
		delete(r.sets, set)
	}
	return errors.Join(errs...)
}

func (e *Engine) newSetReader(set capstan.SetID) *setReader {
	return &setReader{
		engine: e, set: set, scratch: &archive.Scratch{},
		volumes: map[capstan.VolumeID]capstan.Volume{}, open: map[capstan.ArchiveNumber]*openArchive{},
	}
}

// archive gives the reader of one archive; it stays open until close.
func (r *setReader) archive(ctx context.Context, number capstan.ArchiveNumber) (*openArchive, error) {
	if a, ok := r.open[number]; ok {
		return a, nil
	}
	info, err := r.engine.Catalog.Archive(ctx, r.set, number)
	if err != nil {
		return nil, err
	}
	copies, err := r.engine.Catalog.Copies(ctx, r.set)
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, c := range readable(copies, number) {
		if r.only != "" && c.Volume != r.only {
			continue
		}
		a, err := r.openCopy(ctx, info, c)
		if err == nil {
			r.open[number] = a
			return a, nil
		}
		if errors.Is(err, capstan.ErrWrongKey) && !r.fits {
			return nil, err // it is that of all copies
		}
		failures = append(failures, err)
	}
	if r.only == "" {
		a, err := r.openStaged(ctx, info)
		if a != nil {
			r.open[number] = a
			return a, nil
		}
		if err != nil {
			failures = append(failures, err)
		}
	}
	if len(failures) == 0 {
		failures = append(failures, errors.New("no volume holds a copy"))
	}
	if waits := slices.ContainsFunc(copies, func(c capstan.Copy) bool {
		return c.Number == number && !said(c.State) && c.State != capstan.CopyForgotten
	}); waits && r.only == "" {
		next, err := r.engine.retryOf(ctx, r.set)
		if err != nil {
			return nil, err
		}
		failures = append(failures, fmt.Errorf("a volume has yet to get it: %s", next))
	}
	all := failures[0]
	for _, failure := range failures[1:] {
		all = fmt.Errorf("%w; %w", all, failure)
	}
	return nil, fmt.Errorf("archive %s: %w", info.Name, all)
}

// readable gives the copies of an archive that may be there, the good ones first.
// One that was found damaged holds what is not affected; one that was missing may
// have come back with its disk.
func readable(copies []capstan.Copy, number capstan.ArchiveNumber) []capstan.Copy {
	var all []capstan.Copy
	for _, states := range [][]capstan.CopyState{
		{capstan.CopyWritten, capstan.CopyVerified}, {capstan.CopyDamaged}, {capstan.CopyMissing},
	} {
		for _, c := range copies {
			if c.Number == number && slices.Contains(states, c.State) {
				all = append(all, c)
			}
		}
	}
	return all
}

func (r *setReader) openCopy(ctx context.Context, info capstan.Archive, c capstan.Copy) (*openArchive, error) {
	volume, err := r.volume(ctx, c.Volume)
	if err != nil {
		return nil, err
	}
	file, err := volume.Open(ctx, r.set, info.Name)
	if err != nil {
		return nil, err
	}
	return r.openFile(ctx, info, file)
}

// openStaged opens an archive in the stage, where it waits for its volumes; nil if
// it is in none.
func (r *setReader) openStaged(ctx context.Context, info capstan.Archive) (*openArchive, error) {
	if !r.asked && r.engine.Staged != nil {
		staged, err := r.engine.Staged(ctx, r.set)
		if err != nil {
			return nil, err
		}
		r.staged = staged
	}
	r.asked = true
	if r.staged == nil {
		return nil, nil //nolint:nilnil // not being staged is not a failure
	}
	file, err := r.staged.Open(ctx, r.set, info.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // the same
	}
	if err != nil {
		return nil, err
	}
	r.engine.Say("archive %s is read from the stage, where it waits for a volume", info.Name)
	return r.openFile(ctx, info, file)
}

// openFile reads an archive in a file, which it owns from now on.
func (r *setReader) openFile(ctx context.Context, info capstan.Archive, file capstan.VolumeReader) (*openArchive, error) {
	content, size, err := r.plain(ctx, file, info)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	reader, err := archive.OpenReader(content, size, info.Codec) //nolint:contextcheck // it blocks as the file does
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	reader.Share(r.scratch)
	return &openArchive{Reader: reader, file: file, info: info}, nil
}

func (r *setReader) volume(ctx context.Context, id capstan.VolumeID) (capstan.Volume, error) {
	if volume, ok := r.volumes[id]; ok {
		return volume, nil
	}
	info, err := r.engine.Catalog.Volume(ctx, id)
	if err != nil {
		return nil, err
	}
	volume, err := r.engine.Open(ctx, info)
	if err != nil {
		return nil, err
	}
	r.volumes[id] = volume
	return volume, nil
}

// release closes the archives below the number: reading goes upwards. One that is
// wanted again is opened again.
func (r *setReader) release(below capstan.ArchiveNumber) error {
	var errs []error
	for number, a := range r.open {
		if number < below {
			errs = append(errs, a.file.Close())
			delete(r.open, number)
		}
	}
	return errors.Join(errs...)
}

// take gives an archive that is open to the caller, who closes it.
func (r *setReader) take(ctx context.Context, number capstan.ArchiveNumber) (*openArchive, error) {
	a, err := r.archive(ctx, number)
	delete(r.open, number)
	return a, err
}

func (r *setReader) close() error {
	var errs []error
	for number, a := range r.open {
		errs = append(errs, a.file.Close())
		delete(r.open, number)
	}
	for id, volume := range r.volumes {
		errs = append(errs, volume.Close())
		delete(r.volumes, id)
	}
	return errors.Join(errs...)
}
