package pipeline

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/archive"
	"capstan/internal/target/tree"
)

// restoreRun is the state of one restore.
type restoreRun struct {
	*Engine
	view    *View
	want    *selection
	target  *tree.Tree // nil until the sets were looked at
	readers *readers
	entries atomic.Int64
	bytes   atomic.Int64

	mu       sync.Mutex
	problems problems
	doubts   []Problem // about signatures
	// standIns holds, for the first names of hard links that are not restored
	// themselves, the path under which their content was put.
	standIns map[firstName]string
	// closedDirs says that directories without the right to search them are to be
	// finished in the end.
	closedDirs bool
}

// firstName is the name under which a set holds the content of a hard link.
type firstName struct {
	set  capstan.SetID
	path string
}

// batch restores what lies in directories that are there.
func (r *restoreRun) batch(ctx context.Context, b *restoreBatch) error {
	err := r.forEach(ctx, b.plain, func(ctx context.Context, entry *capstan.Entry) error {
		var content io.Reader
		if entry.Kind == capstan.KindFile {
			content = bytes.NewReader(nil)
		}
		return r.settle(entry, r.target.Place(ctx, entry.Path, entry, content))
	})
	if err == nil {
		err = r.contents(ctx, b.contents)
	}
	for i := range b.links {
		if err != nil {
			return err
		}
		err = r.link(ctx, &b.links[i])
	}
	return err
}

// settle counts an entry that was restored, or names one that was not. It gives
// back only errors that end the whole restore: a full disk, a cancellation.
func (r *restoreRun) settle(entry *capstan.Entry, err error) error {
	if err == nil {
		r.entries.Add(1)
		r.bytes.Add(entry.StoredSize())
		r.Tracker.Count(1, capstan.Bytes(entry.StoredSize()), 0)
		r.Tracker.Stage(stageRestore).Moved(capstan.Bytes(entry.StoredSize()), 1)
		return nil
	}
	if errors.Is(err, capstan.ErrNoSpace) || errors.Is(err, capstan.ErrWrongKey) || errors.Is(err, capstan.ErrInterrupted) || errors.Is(err, context.Canceled) {
		return err
	}
	r.Say("cannot restore %s: %v", entry.Path, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems.add(entry.Path, err.Error())
	return nil
}

// forEach calls do for every entry from several goroutines.
func (r *restoreRun) forEach(ctx context.Context, entries []capstan.Entry, do func(context.Context, *capstan.Entry) error) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range r.workers() {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(entries) {
					return nil
				}
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if err := do(ctx, &entries[i]); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// contents restores files with content: one pass over each archive.
func (r *restoreRun) contents(ctx context.Context, entries []Held) error {
	for _, set := range r.view.Chain {
		var own []capstan.Entry
		for i := range entries {
			if entries[i].Set == set.ID {
				own = append(own, entries[i].Entry)
			}
		}
		reader := r.readers.of(set.ID)
		for group := range byArchive(own) {
			if err := reader.release(group[0].Archive); err != nil {
				return err
			}
			if err := r.fromArchive(ctx, reader, group); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *restoreRun) fromArchive(ctx context.Context, from *setReader, entries []capstan.Entry) error {
	whole := entries[:0:0]
	for i := range entries {
		if len(entries[i].Parts) == 0 {
			whole = append(whole, entries[i])
		}
	}
	reader, err := from.archive(ctx, entries[0].Archive)
	if err != nil {
		for i := range whole {
			if err := r.settle(&whole[i], err); err != nil {
				return err
			}
		}
	} else {
		r.Tracker.Stage(stageRestore).Object(reader.info.Name)
		err = reader.Extract(ctx, whole, r.workers(), r.Memory*3/4, func(ctx context.Context, x *archive.Extracted) error {
			if x.Err != nil {
				return r.settle(x.Entry, x.Err)
			}
			return r.settle(x.Entry, r.target.Place(ctx, x.Entry.Path, x.Entry, x.Content))
		})
		if err != nil {
			return err
		}
	}
	for i := range entries {
		if len(entries[i].Parts) > 0 {
			if err := r.split(ctx, from, &entries[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// split restores a file whose content lies in several archives.
func (r *restoreRun) split(ctx context.Context, from *setReader, entry *capstan.Entry) error {
	content := from.content(ctx, entry)
	err := r.target.Place(ctx, entry.Path, entry, content)
	return r.settle(entry, errors.Join(err, content.Close()))
}

// link restores another name of a file. Where the first name is not restored,
// its content is put under this name, and later names link to that.
func (r *restoreRun) link(ctx context.Context, entry *Held) error {
	to := entry.Link
	if !r.want.wants(to) {
		standIn, ok := r.standIns[firstName{entry.Set, to}]
		if !ok {
			return r.standIn(ctx, entry)
		}
		to = standIn
	}
	err := r.target.Link(ctx, entry.Path, to)
	if errors.Is(err, tree.ErrCannotLink) {
		return r.standIn(ctx, entry)
	}
	return r.settle(&entry.Entry, err)
}

func (r *restoreRun) standIn(ctx context.Context, entry *Held) error {
	first, found, err := r.Catalog.Entry(ctx, entry.Set, entry.Link)
	if err != nil {
		return err
	}
	if !found || !first.Outcome.Held() {
		return r.settle(&entry.Entry, errors.New("the set does not hold "+entry.Link+", of which it is another name"))
	}
	content := r.readers.of(entry.Set).content(ctx, &first)
	err = r.target.Place(ctx, entry.Path, &first, content)
	err = errors.Join(err, content.Close())
	if err == nil {
		r.standIns[firstName{entry.Set, entry.Link}] = entry.Path
	}
	return r.settle(&first, err)
}

// content is the stored content of an entry, part after part, checked against
// its hash at the end.
func (r *setReader) content(ctx context.Context, entry *capstan.Entry) io.ReadCloser {
	parts := entry.Parts
	if len(parts) == 0 {
		parts = []capstan.Part{{Location: entry.Location, Length: entry.Size}}
	}
	return &partsReader{ctx: ctx, reader: r, entry: entry, parts: parts}
}
