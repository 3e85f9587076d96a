package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"capstan"
	"capstan/internal/disk"
)

// file is an archive in temp while it is being written.
type file struct {
	stage   *Stage
	set     capstan.SetID
	name    string
	ctx     context.Context //nolint:containedctx // of Create: Write has none, and may wait
	hold    uint64
	granted capstan.Bytes // size of the hold
	room    capstan.Bytes // that may be written before the filesystem is asked again
	out     *disk.File    // nil until it is made
	err     error         // first failure of a write
	ended   bool
}

// Create starts a file of a set that this owner has claimed. It takes r over,
// which may be nil, and is told by Commit and Abort what of it was not needed;
// after an error r is still the caller's. A name that is sealed, or that is being
// written, is fs.ErrExist; what a kill has left under it is replaced.
//
// ctx also ends the waits of the file's Write. A Write beyond the reservation
// waits for more room, and is capstan.ErrNoSpace where the file becomes larger than
// the whole stage or its filesystem; one that finds the disk full goes on where it
// was when there is room again.
func (s *Stage) Create(ctx context.Context, set capstan.SetID, name string, r *Reservation) (capstan.VolumeFile, error) {
	if err := s.check(ctx, set, name); err != nil {
		return nil, err
	}
	f := &file{stage: s, set: set, name: name, ctx: ctx}
	err := s.transact(ctx, func(l *ledger) error { return f.begin(l, r) })
	if err == nil {
		err = s.persist(ctx, f.name, 0, f.make)
	}
	if err != nil {
		return nil, errors.Join(err, f.giveBack(r))
	}
	return f, nil
}

func (f *file) final() string { return f.stage.file(finalArea, f.set, f.name) }

func (f *file) temp() string { return f.stage.file(tempArea, f.set, f.name) }

// begin enters the file into the ledger. From then on nobody else writes it,
// removes it, or removes the set's directories.
func (f *file) begin(l *ledger, r *Reservation) error {
	for _, owner := range l.records() {
		if slices.ContainsFunc(owner.Holds, func(h hold) bool { return h.place() == (place{f.set, f.name}) }) {
			return &fs.PathError{Op: "create", Path: f.temp(), Err: fmt.Errorf("%w: process %d is writing it", fs.ErrExist, owner.PID)}
		}
	}
	if _, err := f.stage.disk.Lstat(f.final()); err == nil {
		return &fs.PathError{Op: "create", Path: f.final(), Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var err error
	f.stage.edit(func(self *record) {
		if !slices.Contains(self.Sets, f.set) {
			err = fmt.Errorf("create %s: set %s is not claimed", f.final(), f.set)
			return
		}
		if r == nil {
			f.stage.last++
			self.Holds = append(self.Holds, hold{ID: f.stage.last, Set: f.set, Name: f.name})
			f.hold = f.stage.last
			return
		}
		h := self.hold(r.id)
		if r.stage != f.stage || h == nil || h.Name != "" {
			err = fmt.Errorf("create %s: its reservation was used or released before", f.final())
			return
		}
		h.Set, h.Name = f.set, f.name
		f.hold, f.granted = h.ID, h.Bytes
	})
	return err
}

// giveBack undoes begin.
func (f *file) giveBack(r *Reservation) error {
	if f.hold == 0 {
		return nil
	}
	f.stage.edit(func(self *record) {
		if h := self.hold(f.hold); h != nil && r != nil {
			h.Set, h.Name = "", ""
			return
		}
		self.dropHold(f.hold)
	})
	return f.stage.settle(f.ctx, func(l *ledger) error { return l.tidy(f.set) })
}

// make makes the file in temp.
func (f *file) make() (full bool, err error) {
	s := f.stage
	err = s.makeDir(s.dir(tempArea, f.set))
	if err == nil {
		err = removeFile(s.disk, f.temp())
	}
	if err == nil {
		f.out, err = s.disk.Create(f.temp())
	}
	return errors.Is(err, capstan.ErrNoSpace), err
}

// Write appends p. It waits where the reservation or the disk has no room, until
// the context of Create ends. After a failure every further Write fails.
func (f *file) Write(p []byte) (n int, err error) {
	if f.ended {
		return 0, &fs.PathError{Op: "write", Path: f.temp(), Err: fs.ErrClosed}
	}
	if f.err != nil {
		return 0, f.err
	}
	if missing := f.size() + capstan.Bytes(len(p)) - f.granted; missing > 0 {
		if f.err = f.grow(missing); f.err != nil {
			return 0, f.err
		}
	}
	for n < len(p) && f.err == nil {
		f.err = f.stage.persist(f.ctx, f.name, capstan.Bytes(len(p)-n), func() (bool, error) {
			k, full, err := f.put(p[n:])
			n += k
			return full, err
		})
	}
	return n, f.err
}

func (f *file) size() capstan.Bytes { return capstan.Bytes(f.out.Size()) }

// growStep is how much room a file takes at once where it outgrows its
// reservation and there is enough, so that not each Write asks.
const growStep = 64 * capstan.MiB

func (f *file) grow(missing capstan.Bytes) error {
	most := max(missing, min(growStep, f.stage.quota/64))
	d := demand{what: f.name, hold: f.hold, has: f.granted, least: missing, most: most}
	err := f.stage.obtain(f.ctx, &d)
	if err == nil {
		f.granted += d.got
	}
	return err
}

// put writes what the disk takes of p. full says that it takes nothing now; the
// bytes before are there.
func (f *file) put(p []byte) (n int, full bool, err error) {
	if f.room < capstan.Bytes(len(p)) {
		f.room, full, err = f.stage.roomFor(f.name, capstan.Bytes(len(p)))
		if full || err != nil {
			return 0, full, err
		}
	}
	n, err = f.out.Write(p)
	f.room -= capstan.Bytes(n)
	if errors.Is(err, capstan.ErrNoSpace) && f.out.Resume() == nil {
		f.room = 0
		if n > 0 {
			return n, false, nil
		}
		return 0, true, err
	}
	return n, false, err
}

// isOurs reports whether the name in temp still leads to the open file.
func (f *file) isOurs() (bool, error) {
	open, err := f.out.Stat()
	if err != nil {
		return false, err
	}
	named, err := f.stage.disk.Lstat(f.temp())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(open, named), err
}

// Abort removes what was written and gives the room back.
func (f *file) Abort() error {
	if f.ended {
		return nil
	}
	f.ended = true
	return errors.Join(f.discard(), f.leave(f.ctx))
}

// discard closes the file and removes it, unless its name leads to another one
// by now.
func (f *file) discard() error {
	same, err := f.isOurs()
	closeErr := f.out.Close()
	if errors.Is(err, fs.ErrClosed) { // closed by seal, which had compared before
		same, err = true, nil
	}
	if err != nil || !same {
		return errors.Join(err, closeErr)
	}
	return errors.Join(removeFile(f.stage.disk, f.temp()), closeErr)
}

// leave gives the file's room back, less what a sealed file takes of it.
func (f *file) leave(ctx context.Context) error {
	f.stage.edit(func(self *record) { self.dropHold(f.hold) })
	f.stage.announce()
	return f.stage.settle(ctx, func(l *ledger) error { return l.tidy(f.set) })
}
