package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"capstan"
)

// spoolArea holds the spools, each a directory that bears its owner's id.
const spoolArea = "spool"

// Spool is a directory for files that somebody makes in order to pack them: the data
// of a dump, what a restore fetches. Its room is part of the stage's quota, at most
// SpoolRoom, and grows by what is taken until Close; what is given back is for the
// spool again, not for archives.
//
// The spool of a process that died is removed by whoever opens the stage next. Its
// methods may be called from several goroutines.
type Spool struct {
	stage *Stage
	dir   string
	most  capstan.Bytes
	hold  uint64
	wait  func(detail string) (done func())

	growing chan struct{} // one demand at a time

	mu      sync.Mutex
	granted capstan.Bytes
	used    capstan.Bytes
}

// SpoolRoom is how much of the stage a spool may take: half of it. The other half
// is always left to archives, so that what is spooled can be packed.
func (s *Stage) SpoolRoom() capstan.Bytes { return s.quota / 2 }

// NewSpool makes an empty spool. wait is told when room is waited for that the stage
// does not have; what it returns is called when that is over.
func (s *Stage) NewSpool(ctx context.Context, wait func(detail string) (done func())) (*Spool, error) {
	p := &Spool{stage: s, most: s.SpoolRoom(), wait: wait, growing: make(chan struct{}, 1)}
	err := s.transact(ctx, func(*ledger) error {
		if err := s.makeDir(s.area(spoolArea)); err != nil {
			return err
		}
		s.edit(func(r *record) {
			s.last++
			p.hold = s.last
			r.Holds = append(r.Holds, hold{ID: p.hold, Spool: true})
		})
		p.dir = filepath.Join(s.area(spoolArea), s.owner.id+"."+strconv.FormatUint(p.hold, 10))
		return s.disk.Mkdir(p.dir)
	})
	if err != nil && p.hold != 0 {
		err = errors.Join(err, p.release(ctx))
	}
	return p, err
}

// Dir is the spool's directory; its owner makes and removes what is in it.
func (p *Spool) Dir() string { return p.dir }

// Room is the most that can lie in the spool at once.
func (p *Spool) Room() capstan.Bytes { return p.most }

// Take takes room for n bytes that are about to be written. It reports false if the
// spool cannot hold them beside what it holds; it waits while others have what it
// could still get of the stage. Errors: those of Reserve.
func (p *Spool) Take(ctx context.Context, n capstan.Bytes) (bool, error) {
	for {
		p.mu.Lock()
		missing := p.used + n - p.granted
		if p.used+n > p.most {
			p.mu.Unlock()
			return false, nil
		}
		if missing <= 0 {
			p.used += n
			p.tell()
			p.mu.Unlock()
			return true, nil
		}
		p.mu.Unlock()
		if err := p.grow(ctx, n); err != nil {
			return false, err
		}
	}
}

// grow gets more of the stage for the spool, unless another goroutine just did.
func (p *Spool) grow(ctx context.Context, n capstan.Bytes) error {
	select {
	case p.growing <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.growing }()
	p.mu.Lock()
	granted, missing := p.granted, min(p.used+n, p.most)-p.granted
	p.mu.Unlock()
	if missing <= 0 {
		return nil
	}
	d := demand{
		what: "a dump", hold: p.hold, has: granted, least: missing, most: min(max(missing, growStep), p.most-granted),
		declare: func(_, detail string) func() { return p.wait(detail) },
	}
	if err := p.stage.obtain(ctx, &d); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.granted += d.got
	return nil
}

// Give says that n bytes that were taken are not there any more, or were not written.
func (p *Spool) Give(n capstan.Bytes) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = max(p.used-n, 0)
	p.tell()
}

// tell notes in the record how much of the room lies on the file system already; p.mu
// is held.
func (p *Spool) tell() {
	p.stage.edit(func(r *record) {
		if h := r.hold(p.hold); h != nil {
			h.Written = p.used
		}
	})
}

// Close removes the spool's directory with all that is in it, and gives its room back.
func (p *Spool) Close(ctx context.Context) error {
	return errors.Join(p.stage.removeTree(p.dir), p.release(ctx))
}

func (p *Spool) release(ctx context.Context) error {
	p.stage.edit(func(r *record) { r.dropHold(p.hold) })
	p.stage.announce()
	return p.stage.settle(ctx, func(*ledger) error { return nil })
}

// sweepSpools removes the spools of owners that are dead; the ledger is locked.
func (l *ledger) sweepSpools() error {
	s := l.stage
	entries, err := s.disk.ReadDir(s.area(spoolArea))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		id, number, ok := strings.Cut(entry.Name(), ".")
		if _, err := strconv.ParseUint(number, 10, 64); !ok || err != nil || !entry.IsDir() || s.owner != nil && id == s.owner.id {
			continue
		}
		alive, err := s.alive(filepath.Join(s.area(ledgerArea), id+lockSuffix))
		if err != nil {
			return err
		}
		if alive {
			continue
		}
		if err := s.removeTree(filepath.Join(s.area(spoolArea), entry.Name())); err != nil {
			return fmt.Errorf("what a run that was killed has left: %w", err)
		}
	}
	return nil
}

// removeTree removes a directory and what is in it; no link is followed.
func (s *Stage) removeTree(dir string) error {
	entries, err := s.disk.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if entry.IsDir() {
			err = s.removeTree(path)
		} else {
			err = removeFile(s.disk, path)
		}
		if err != nil {
			return err
		}
	}
	return removeFile(s.disk, dir)
}

// patient counts the holds that are not themselves waiting to grow and may end by
// themselves: not a spool's, which keeps what it has until its run ends.
func patient(r record) (n int) {
	for _, h := range r.Holds {
		waits := slices.ContainsFunc(r.Requests, func(q request) bool { return q.Hold == h.ID })
		if !waits && !h.Spool {
			n++
		}
	}
	return n
}
