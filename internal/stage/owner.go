package stage

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"capstan"
	"capstan/internal/disk"
)

// The endings of an owner's files in the ledger.
const (
	lockSuffix   = ".lock"
	recordSuffix = ".json"
)

// owner is this Stage's place in the ledger.
type owner struct {
	id     string
	lock   *flock.Flock // held until leave, or until the process dies
	path   string       // of the record
	record *os.File
	size   int    // of the record's file
	told   []byte // what was last written; nil when that is not known
}

// before asks the faults of a test, since the ledger's files are not written
// through disk.File.
func (s *Stage) before(op disk.Op, path string, n int) error {
	if s.disk.Faults == nil {
		return nil
	}
	if err := s.disk.Faults.Before(op, path, n); err != nil {
		return &fs.PathError{Op: string(op), Path: path, Err: err}
	}
	return nil
}

// enlist makes the files of a new owner. It is called while the ledger is
// locked: nobody sees the moment in which they are there and the lock is free.
func (s *Stage) enlist() (o *owner, err error) {
	o = &owner{id: rand.Text()}
	base := filepath.Join(s.area(ledgerArea), o.id)
	o.path = base + recordSuffix
	o.lock = flock.New(base+lockSuffix, flock.SetFlag(os.O_RDWR))
	r := s.snapshot()
	data, err := r.encode(recordRoom)
	if err == nil {
		err = errors.Join(s.create(o.lock.Path(), nil), s.create(o.path, data))
	}
	if err == nil {
		var taken bool
		if taken, err = o.lock.TryLock(); err == nil && !taken {
			err = errors.New("somebody else has it")
		}
		if err != nil {
			err = lockless(o.lock.Path(), err)
		}
	}
	if err == nil {
		o.record, err = os.OpenFile(o.path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, errors.Join(err, o.leave(s.disk))
	}
	o.size, o.told = len(data), data
	return o, nil
}

// create makes a small file that need not outlast a power failure.
func (s *Stage) create(path string, data []byte) error {
	file, err := s.disk.Create(path)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

// lockless is a lock that the filesystem does not give.
func lockless(path string, err error) error {
	return fmt.Errorf("lock %s (a stage needs a filesystem with file locks; a local disk has them): %w", path, err)
}

// tell writes the record over the last one. No sync: after a power failure
// nobody holds anything.
func (o *owner) tell(s *Stage, r record) error {
	data, err := r.encode(o.size)
	if err != nil || bytes.Equal(data, o.told) {
		return err
	}
	if err := s.before(disk.OpWrite, o.path, len(data)); err != nil {
		return err
	}
	o.told = nil
	if _, err := o.record.WriteAt(data, 0); err != nil {
		return err
	}
	o.size, o.told = len(data), data
	return nil
}

// leave frees the owner's lock and takes its files away. What a failure leaves
// is of a dead owner.
func (o *owner) leave(disk disk.FS) error {
	var err error
	if o.record != nil {
		err = o.record.Close()
	}
	// The record goes first: a free lock without one says nothing to anybody, a
	// record without a lock would not be found.
	removeErr := removeFile(disk, o.path)
	err = errors.Join(err, removeErr, o.lock.Unlock())
	if removeErr == nil {
		err = errors.Join(err, removeFile(disk, o.lock.Path()))
	}
	return err
}

// die frees the owner's lock only: as after a kill, whoever looks at the ledger
// next removes the unsealed files that the record names.
func (o *owner) die() error { return errors.Join(o.record.Close(), o.lock.Unlock()) }

// removeFile removes a file; that it is not there is fine.
func removeFile(disk disk.FS, path string) error {
	if err := disk.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// census reads the records of the other owners that live, and buries the dead.
func (s *Stage) census() (*ledger, error) {
	l := &ledger{stage: s}
	dead := map[string]record{}
	entries, err := s.disk.ReadDir(s.area(ledgerArea))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.gone(errors.New("its ledger cannot be found"))
	}
	if err != nil {
		return nil, err
	}
	for _, id := range owners(entries) {
		if s.owner != nil && id == s.owner.id {
			continue
		}
		base := filepath.Join(s.area(ledgerArea), id)
		alive, err := s.alive(base + lockSuffix)
		if err != nil {
			return nil, err
		}
		r, err := s.readRecord(base + recordSuffix)
		switch {
		case !alive:
			dead[base] = r
		case errors.Is(err, fs.ErrNotExist): // it is just leaving
		case err != nil:
			return nil, &capstan.Error{
				Op: "read what another process holds in the stage, in", Object: base + recordSuffix, Err: fmt.Errorf("%w: %w", capstan.ErrDamaged, err),
				Safe: "nothing was touched", Next: "wait until that process has ended, or use the same version of capstan for both",
			}
		default:
			l.others = append(l.others, r)
		}
	}
	for base, r := range dead { // now that all who live are known
		l.bury(base, r)
	}
	return l, nil
}

// owners are those that have a file in the ledger: a lock, a record or both. A loss
// of power may leave a record whose lock is gone; whoever lives has his lock, since
// it is there before the record and goes after it.
func owners(entries []fs.DirEntry) (ids []string) {
	for _, entry := range entries {
		id, ok := strings.CutSuffix(entry.Name(), lockSuffix)
		if !ok {
			id, ok = strings.CutSuffix(entry.Name(), recordSuffix)
		}
		if ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// alive reports whether somebody holds an owner's lock.
func (s *Stage) alive(path string) (bool, error) {
	if err := s.before(disk.OpOpen, path, 0); err != nil {
		return false, err
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDWR))
	taken, err := lock.TryLock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, lockless(path, err)
	case !taken:
		return true, nil
	}
	return false, lock.Unlock()
}

func (s *Stage) readRecord(path string) (record, error) {
	data, err := s.disk.ReadFile(path, recordLimit)
	if err != nil {
		return record{}, err
	}
	return decodeRecord(data)
}

// bury removes the unsealed files that a dead owner's record names, then its
// files in the ledger. What fails is left for the next who looks: it harms nobody
// but by the room that it takes, and is counted. A set that somebody has claimed
// since is that one's business: a file there may be a new one.
func (l *ledger) bury(base string, r record) {
	s := l.stage
	for _, h := range r.Holds {
		if !h.place().ok() || slices.ContainsFunc(l.records(), func(r record) bool { return slices.Contains(r.Sets, h.Set) }) {
			continue
		}
		path := s.file(tempArea, h.Set, h.Name)
		info, err := s.disk.Lstat(path)
		if err == nil {
			err = s.disk.Remove(path)
		}
		switch {
		case err == nil:
			s.note(Found{Set: h.Set, Name: h.Name, Size: info.Size()})
		case !errors.Is(err, fs.ErrNotExist):
			return
		}
		_ = l.tidy(h.Set) // an empty directory that stays is in nobody's way
	}
	if removeFile(s.disk, base+recordSuffix) == nil {
		_ = removeFile(s.disk, base+lockSuffix) // a lone free lock is found again, and means nothing
	}
}
