package files

import (
	"context"
	"slices"

	"capstan"
)

const (
	// Directories are listed ahead of need: so many in all, so many of one parent,
	// until so many names wait.
	maxLoads      = 128
	maxLoadsEach  = 8
	maxNamesAhead = 64 << 10
	// maxDepthOpen bounds the directories that stay open on the way down; those
	// above are opened again when the walk comes back to them.
	maxDepthOpen = 48
	// depthAhead is how many directories on the way down have subdirectories listed.
	depthAhead = 3
)

// loadAhead has directories listed that the walk will come to soon, those of the
// innermost directory first.
func (w *walker) loadAhead() {
	for i := len(w.stack) - 1; i >= max(0, len(w.stack)-depthAhead); i-- {
		f := w.stack[i]
		f.loadNext = max(f.loadNext, f.pos)
		for ; f.loadNext < len(f.names) && f.dir != nil && len(f.loads) < maxLoadsEach; f.loadNext++ {
			if w.loads >= maxLoads || w.run.ahead.Load() >= maxNamesAhead {
				return
			}
			n := &f.names[f.loadNext]
			if n.kind != capstan.KindDir {
				continue
			}
			host, path := w.run.join(f, n.name)
			if _, excluded := w.excluded(f, path, n); excluded {
				continue
			}
			l := &load{ticket: newTicket(), parent: f.dir.retain(), index: f.loadNext, host: host, path: path}
			f.loads = append(f.loads, l)
			w.loads++
			w.run.loads <- l // never blocks: it holds maxLoads
		}
	}
}

// listing gives the finished load of the directory that the walk is at.
func (w *walker) listing(ctx context.Context, f *frame, host, path string) (*load, error) {
	index := f.pos - 1
	f.loadNext = max(f.loadNext, f.pos)
	if len(f.loads) > 0 && f.loads[0].index == index {
		l := f.loads[0]
		w.loadAhead()
		select {
		case <-l.done:
		default:
			if err := w.flush(ctx); err != nil {
				return nil, err
			}
			select {
			case <-l.done:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		f.loads = slices.Delete(f.loads, 0, 1)
		w.loads--
		w.run.ahead.Add(-int64(len(l.names)))
		if !l.spared {
			return l, nil
		}
		l.drop()
	}
	l := &load{ticket: newTicket(), parent: f.dir.retain(), host: host, path: path}
	w.reader.load(l)
	if ctx.Err() != nil {
		l.drop()
		return nil, context.Cause(ctx)
	}
	return l, nil
}
