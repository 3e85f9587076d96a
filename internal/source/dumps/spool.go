package dumps

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"capstan"
	"capstan/internal/progress"
	"capstan/internal/stage"
)

// spool is where files are until they are packed. The dump asks it for room, file by
// file; the scan takes the complete files out.
type spool struct {
	room *stage.Spool

	mu      sync.Mutex
	open    map[string]*growing // files that are being written
	ready   []ready             // complete, in their order
	out     int                 // taken, and not yet removed
	waiters int                 // how many wait for room
	laid    bool                // something was taken since the last flush
	wake    chan struct{}       // hints that there is a waiter
	broken  error               // of a file that could not be read back
	changed chan struct{}       // closed at every change of the above
	users   int                 // the scan, and each file that is out
}

// growing is a file that is being written.
type growing struct {
	tag   string
	bytes int64
	waits bool // since the last change
}

// ready is a complete file.
type ready struct {
	dir             string // within the set
	name, tag, path string
	size            int64
}

func newSpool(room *stage.Spool) *spool {
	return &spool{room: room, open: map[string]*growing{}, changed: make(chan struct{}), wake: make(chan struct{}, 1), users: 1}
}

// change wakes whoever waits; s.mu is held.
func (s *spool) change() {
	for _, f := range s.open {
		f.waits = false
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// below is the part of the spool that one dump fills, whose files lie in a directory of
// the set.
type below struct {
	*spool
	dir string
}

// Grow implements postgres.Spool.
func (b below) Grow(ctx context.Context, stage *progress.Stage, file, tag string, n int) error {
	s, key := b.spool, b.dir+"/"+file
	s.mu.Lock()
	f := s.open[key]
	if f == nil {
		f = &growing{tag: tag}
		s.open[key] = f
	}
	s.mu.Unlock()
	waited := func() {}
	defer func() { waited() }()
	for first := true; ; first = false {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		ok, err := s.room.Take(ctx, capstan.Bytes(n))
		if err != nil {
			return err
		}
		s.mu.Lock()
		if ok {
			f.bytes += int64(n)
			s.mu.Unlock()
			return nil
		}
		if err = s.broken; err == nil && changed == s.changed {
			f.waits = true
			err = s.stuck()
		}
		if err == nil {
			s.waiters++
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
		if first {
			waited = stage.Wait(progress.ForSpace, "what is dumped waits to be packed")
		}
		if err := s.await(ctx, changed); err != nil {
			return err
		}
	}
}

// await waits, as one of the waiters, for a change.
func (s *spool) await(ctx context.Context, changed <-chan struct{}) (err error) {
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case <-changed:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters--
	return err
}

// stuck is the error of a spool that is full of files of which none is complete, all
// of them waiting; s.mu is held.
func (s *spool) stuck() error {
	if len(s.ready)+s.out > 0 {
		return nil
	}
	var tables []string
	for _, f := range s.open {
		if !f.waits {
			return nil
		}
		tables = append(tables, fmt.Sprintf("%s (%s so far)", f.tag, capstan.Bytes(f.bytes)))
	}
	slices.Sort(tables)
	return &capstan.Error{
		Class: capstan.ErrNoSpace, Op: "spool the dump in", Object: s.room.Dir(),
		Err:  fmt.Errorf("what is read at the same time needs more than the %s that half of the stage has: %s", s.room.Room(), strings.Join(tables, ", ")),
		Safe: "no set was completed", Next: "enlarge it with --stage-size, name a larger disk with --stage, or read fewer tables at once with --jobs 1",
	}
}

// Keep implements postgres.Spool.
func (b below) Keep(file, tag, path string, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := b.dir + "/" + file
	r := ready{dir: b.dir, name: file, tag: tag, path: path}
	if f := b.open[key]; f != nil {
		r.size = f.bytes
		delete(b.open, key)
	}
	_ = size // what was asked for is given back
	b.ready = append(b.ready, r)
	b.change()
}

// next takes complete files, at most n; it waits until there is one. Without any, the
// dump has ended; or, with flush, room is wanted, and what was taken before has to be
// packed although nothing follows it.
func (s *spool) next(ctx context.Context, ended <-chan struct{}, n int) (some []ready, flush bool, err error) {
	for {
		over := false
		select {
		case <-ended:
			over = true
		default:
		}
		s.mu.Lock()
		if s.broken != nil {
			defer s.mu.Unlock()
			return nil, false, s.broken
		}
		some = slices.Clone(s.ready[:min(n, len(s.ready))])
		s.ready = s.ready[len(some):]
		s.out += len(some)
		flush = len(some) == 0 && s.waiters > 0 && s.laid
		s.laid = (s.laid || len(some) > 0) && !flush
		changed := s.changed
		s.mu.Unlock()
		if len(some) > 0 || over || flush {
			return some, flush, nil
		}
		select {
		case <-changed:
		case <-s.wake:
		case <-ended:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// removed says that a file that was taken is not there any more.
func (s *spool) removed(r ready) {
	s.room.Give(capstan.Bytes(r.size))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out--
	s.change()
}

// fail ends whoever fills and empties the spool.
func (s *spool) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = err
	}
	s.change()
}

// enter and leave count who still needs the spool's directory; the last one removes it.
func (s *spool) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
}

func (s *spool) leave(ctx context.Context) error {
	s.mu.Lock()
	s.users--
	last := s.users == 0
	s.mu.Unlock()
	if !last {
		return nil
	}
	return s.room.Close(context.WithoutCancel(ctx))
}
