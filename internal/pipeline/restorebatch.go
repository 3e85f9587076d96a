package pipeline

import (
	"context"

	"golang.org/x/sync/errgroup"

	"capstan"
)

// restoreBatchEntries bounds the entries of a restore's batch. Two are in memory at
// once: what is being restored, and what is read from the catalog meanwhile. The
// first batches are smaller, so that restoring begins at once.
const (
	firstBatchEntries   = 512
	restoreBatchEntries = 8192
)

// restoreBatch is a run of entries in path order, sorted by what they take.
type restoreBatch struct {
	entries  int
	plain    []capstan.Entry // without content of their own in an archive
	contents []Held
	links    []Held
	ended    []Held // directories in which nothing later lies, the innermost first
}

// run restores in batches, three at a time at different steps: one is read from the
// catalog and gets its directories; of one the contents are restored, in the order
// of the archives, then links; of one the directories in which nothing more will be
// placed get their attributes and times.
func (r *restoreRun) run(ctx context.Context) error {
	r.standIns = map[firstName]string{}
	stage := r.Tracker.Stage(stageRestore)
	stage.Begin()
	defer stage.End()
	group, joint := errgroup.WithContext(ctx)
	read, ended := make(chan *restoreBatch), make(chan []Held)
	group.Go(func() error {
		defer close(read)
		return r.gather(joint, read)
	})
	group.Go(func() error {
		defer close(ended)
		for b := range read {
			if err := r.batch(joint, b); err != nil {
				return err
			}
			if err := send(joint, ended, b.ended); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		for dirs := range ended {
			if err := r.finish(joint, dirs); err != nil {
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil || !r.closedDirs {
		return err
	}
	return r.finishClosed(ctx)
}

// send gives a value on, or the cause with which ctx ended.
func send[T any](ctx context.Context, to chan<- T, value T) error {
	select {
	case to <- value:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gather reads what is wanted from the catalog, makes the directories and gives the
// rest on in batches.
func (r *restoreRun) gather(ctx context.Context, to chan<- *restoreBatch) error {
	var open []Held // directories around the current entry
	b, limit := &restoreBatch{}, firstBatchEntries
	leave := func(next string) {
		for len(open) > 0 && (next == "" || !capstan.Within(next, open[len(open)-1].Path)) {
			b.ended = append(b.ended, open[len(open)-1])
			open = open[:len(open)-1]
		}
	}
	for entry, err := range r.view.selected(ctx, r.want) {
		if err != nil {
			return err
		}
		leave(entry.Path)
		if entry.Kind == capstan.KindDir {
			made := r.target.Dir(ctx, entry.Path)
			if err := r.settle(&entry.Entry, made); err != nil {
				return err
			}
			if made == nil {
				open = append(open, entry)
			}
		}
		if b.add(entry); b.entries < limit {
			continue
		}
		limit = min(2*limit, restoreBatchEntries)
		if err := send(ctx, to, b); err != nil {
			return err
		}
		b = &restoreBatch{}
	}
	leave("")
	return send(ctx, to, b)
}

func (b *restoreBatch) add(entry Held) {
	b.entries++
	switch {
	case entry.Kind == capstan.KindDir:
	case entry.Kind == capstan.KindHardlink:
		b.links = append(b.links, entry)
	case entry.StoredSize() > 0:
		b.contents = append(b.contents, entry)
	default:
		b.plain = append(b.plain, entry.Entry)
	}
}

// finish gives directories their attributes and times. One that its owner may not
// search waits for the end: a later entry may be another name of a file in it.
func (r *restoreRun) finish(ctx context.Context, dirs []Held) error {
	for i := range dirs {
		if !searchable(&dirs[i].Entry) {
			r.closedDirs = true
			continue
		}
		if err := r.finishDir(ctx, &dirs[i]); err != nil {
			return err
		}
	}
	return nil
}

func searchable(dir *capstan.Entry) bool { return dir.Mode&0o100 != 0 }

func (r *restoreRun) finishDir(ctx context.Context, dir *Held) error {
	if err := r.target.FinishDir(ctx, dir.Path, &dir.Entry); err != nil {
		return r.settle(&dir.Entry, err)
	}
	return nil
}

// finishClosed finishes the directories that finish left, each after all that lie
// below it.
func (r *restoreRun) finishClosed(ctx context.Context) error {
	var open []Held
	leave := func(next string) error {
		for len(open) > 0 && (next == "" || !capstan.Within(next, open[len(open)-1].Path)) {
			if err := r.finishDir(ctx, &open[len(open)-1]); err != nil {
				return err
			}
			open = open[:len(open)-1]
		}
		return nil
	}
	for entry, err := range r.view.selected(ctx, r.want) {
		if err != nil {
			return err
		}
		if err := leave(entry.Path); err != nil {
			return err
		}
		if entry.Kind == capstan.KindDir && !searchable(&entry.Entry) {
			open = append(open, entry)
		}
	}
	return leave("")
}
