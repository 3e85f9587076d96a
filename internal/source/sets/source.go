package sets

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"capstan"
)

// Held is an entry together with the set whose archive holds it.
type Held struct {
	Set capstan.SetID
	capstan.Entry
}

// Options say what is read, and by whom. All fields but Wait are needed.
type Options struct {
	Set capstan.SetID // whose tree it is
	// Walk yields what the set shows at and below a path, of all outcomes but deleted
	// ones, in the order of capstan.ComparePaths.
	Walk func(ctx context.Context, root string) iter.Seq2[Held, error]
	// Holds reports whether the tree holds a file under a path, with its content.
	Holds   func(ctx context.Context, path string) (bool, error)
	Library *Library
	Workers int           // that read, at least 1
	Memory  capstan.Bytes // of small contents in a batch; there are three batches at most
	// Wait declares that the scan waits for the archives' volumes; what it returns is
	// called when that is over. nil: nobody wants to know.
	Wait func() (done func())
}

// Source is one first name of the tree that a set shows. It implements capstan.Source.
type Source struct {
	Options
	name   string
	arenas sync.Pool // of *[]byte
}

// New makes the source of what stands under a first name.
func New(name string, options Options) *Source {
	return &Source{Options: options, name: name}
}

// Spec implements capstan.Source.
func (s *Source) Spec() string { return fmt.Sprintf("set %s, %s", s.Set, s.name) }

// Name implements capstan.Source.
func (s *Source) Name() string { return s.name }

// Scan implements capstan.Source. It emits stored and changed entries, and with a
// baseline, for those that it holds just as they are, unchanged ones; never deleted ones.
func (s *Source) Scan(ctx context.Context, baseline capstan.Baseline, emit func(context.Context, capstan.Batch) error) error {
	outer := ctx // that of contents, which are read also after Scan has returned
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches := make(chan *batch)
	ended := make(chan error, 1)
	go func() {
		err := s.read(ctx, outer, baseline, batches)
		ended <- err
		close(batches)
	}()
	var emitted error
	for {
		done := func() {}
		if s.Wait != nil {
			done = s.Wait()
		}
		b, more := <-batches // it is closed when ctx ends
		done()
		if !more {
			break
		}
		if emitted == nil {
			if emitted = emit(ctx, capstan.Batch{Items: b.items, Release: func() { s.recycle(b) }}); emitted != nil {
				cancel(emitted)
			}
			continue
		}
		b.close()
	}
	if err := <-ended; emitted == nil {
		return err
	}
	return emitted
}

// read walks the tree and hands over batches whose small contents were read.
func (s *Source) read(ctx, outer context.Context, baseline capstan.Baseline, out chan<- *batch) error {
	held := follower{baseline: baseline}
	b := s.newBatch()
	send := func() error {
		err := s.fill(ctx, b)
		if err == nil {
			select {
			case out <- b:
				b = s.newBatch()
				return nil
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		b.close()
		return err
	}
	for e, err := range s.Walk(ctx, s.name) {
		if err != nil {
			b.close()
			return err
		}
		if !e.Outcome.Held() && e.Set != s.Set {
			continue // of an earlier run, and this one did not meet it any more
		}
		if err := s.add(ctx, outer, b, &held, e); err != nil {
			b.close()
			return err
		}
		if b.full() {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

// add puts an entry into the batch, with what is to be read of it.
func (s *Source) add(ctx, outer context.Context, b *batch, held *follower, e Held) error {
	e.Host = e.Path
	if !e.Outcome.Held() {
		e.Location, e.Parts, e.Hash = capstan.Location{}, nil, capstan.Hash{}
		b.items = append(b.items, capstan.Item{Entry: e.Entry})
		return nil
	}
	if e.Outcome == capstan.OutcomeUnchanged {
		e.Outcome = capstan.OutcomeStored
	}
	done, found, err := held.find(ctx, e.Path)
	if err != nil {
		return err
	}
	if found && same(&done, &e.Entry) {
		done.Outcome, done.Host = capstan.OutcomeUnchanged, e.Path
		b.items = append(b.items, capstan.Item{Entry: done})
		return nil
	}
	switch size := e.StoredSize(); {
	case e.Kind == capstan.KindHardlink:
		holds, err := s.Holds(ctx, e.Link)
		if err != nil {
			return err
		}
		if !holds {
			fail(&e.Entry, fmt.Errorf("another name of %s, which set %s does not hold", e.Link, s.Set))
		}
		b.items = append(b.items, capstan.Item{Entry: e.Entry})
	case size == 0:
		b.items = append(b.items, capstan.Item{Entry: e.Entry})
	case e.Archive == 0:
		fail(&e.Entry, fmt.Errorf("set %s has no place for it: %w", e.Set, capstan.ErrDamaged))
		b.items = append(b.items, capstan.Item{Entry: e.Entry})
	case size > smallContent || len(e.Parts) > 0:
		b.note(place{e.Set, e.Archive})
		b.items = append(b.items, capstan.Item{Entry: e.Entry, Content: newContent(outer, s.Library, &e)})
	default:
		b.note(place{e.Set, e.Archive})
		b.small(e, int(size))
	}
	return nil
}

// fail makes an entry one that could not be read.
func fail(e *capstan.Entry, err error) {
	e.Outcome, e.Reason = capstan.OutcomeFailed, err.Error()
	e.Location, e.Parts, e.Hash = capstan.Location{}, nil, capstan.Hash{}
}

// same reports whether an entry that an interrupted run has stored is the one that is
// to be stored.
func same(a, b *capstan.Entry) bool {
	return a.Kind == b.Kind && a.Outcome == b.Outcome && a.Size == b.Size && a.Hash == b.Hash && a.Link == b.Link &&
		a.Mode == b.Mode && a.Ino == b.Ino && a.ModTime.Equal(b.ModTime) && a.ChangeTime.Equal(b.ChangeTime)
}

// follower follows the walk through a baseline, in the same order.
type follower struct {
	baseline capstan.Baseline // nil: nothing is held
	levels   []level          // the directories above the present path
}

// level is a directory of the baseline.
type level struct {
	dir     string
	entries []capstan.Entry // that the walk has not passed
	last    string          // name of the last one that was asked for
	more    bool            // there may be others after it
}

// baselinePage is how many entries are asked for at once.
const baselinePage = 1024

// find gives what the baseline holds under a path.
func (f *follower) find(ctx context.Context, path string) (e capstan.Entry, found bool, err error) {
	if f.baseline == nil {
		return e, false, nil
	}
	dir, _ := capstan.SplitPath(path)
	for n := len(f.levels); n > 0 && f.levels[n-1].dir != dir && !capstan.Within(dir, f.levels[n-1].dir); n-- {
		f.levels = f.levels[:n-1]
	}
	if n := len(f.levels); n == 0 || f.levels[n-1].dir != dir {
		f.levels = append(f.levels, level{dir: dir, more: true})
	}
	top := &f.levels[len(f.levels)-1]
	for {
		i := slices.IndexFunc(top.entries, func(e capstan.Entry) bool { return capstan.ComparePaths(e.Path, path) >= 0 })
		if i >= 0 {
			top.entries = top.entries[i:]
			return top.entries[0], top.entries[0].Path == path, nil
		}
		if top.entries = nil; !top.more {
			return e, false, nil
		}
		if top.entries, err = f.baseline.Children(ctx, dir, top.last, baselinePage); err != nil {
			return e, false, err
		}
		if n := len(top.entries); n > 0 {
			_, top.last = capstan.SplitPath(top.entries[n-1].Path)
		}
		top.more = len(top.entries) == baselinePage
	}
}
