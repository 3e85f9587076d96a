package sets

import (
	"context"
	"fmt"
	"iter"

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
	Memory  capstan.Bytes // of small contents in a batch; there are two batches at most
	// Wait declares that the scan waits for the archives' volumes; what it returns is
	// called when that is over. nil: nobody wants to know.
	Wait func() (done func())
}

// Source is one first name of the tree that a set shows. It implements capstan.Source.
type Source struct {
	Options
	name   string
	arenas chan []byte // of batches that were taken, for the next ones
}

// New makes the source of what stands under a first name.
func New(name string, options Options) *Source {
	return &Source{Options: options, name: name, arenas: make(chan []byte, maxBatches)}
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
	held := follow(ctx, baseline, s.name)
	defer held.stop()
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
		if err := s.add(ctx, outer, b, held, e); err != nil {
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
	done, found, err := held.find(e.Path)
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
	next func() (capstan.Entry, error, bool) // nil: nothing is held
	head capstan.Entry                       // that the walk has not passed; none is there before the first
	stop func()
}

func follow(ctx context.Context, baseline capstan.Baseline, name string) *follower {
	if baseline == nil {
		return &follower{stop: func() {}}
	}
	f := &follower{}
	f.next, f.stop = iter.Pull2(baseline.Walk(ctx, name))
	return f
}

// find gives what the baseline holds under a path.
func (f *follower) find(path string) (e capstan.Entry, found bool, err error) {
	for f.next != nil && (f.head.Path == "" || capstan.ComparePaths(f.head.Path, path) < 0) {
		var more bool
		f.head, err, more = f.next()
		if !more {
			f.next, f.head = nil, capstan.Entry{}
		}
		if err != nil {
			return e, false, err
		}
	}
	return f.head, f.head.Path == path, nil
}
