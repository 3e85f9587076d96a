package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"capstan"
	"capstan/internal/disk"
)

// Options say how a directory is opened as a stage.
type Options struct {
	// Quota bounds all that lies in the stage and is reserved there, by every
	// process. 0 is 80 % of what the filesystem has free at the opening, the bytes
	// that lie in the stage already counted as free. A quota may differ between
	// processes and be below what the stage holds: an owner gets room only where
	// its own quota allows it.
	Quota capstan.Bytes
	// Reserve is free space of the filesystem that is never used. 0 is a hundredth
	// of the filesystem, at least 64 MiB, at most 1 GiB or an eighth of it; a
	// negative one means none.
	Reserve capstan.Bytes
	// Known is the id of the stage that the caller expects (Stage.ID), empty if it
	// has none in mind. A directory without this stage is then refused, not made.
	Known string
	// Catalog is the id of the catalog that names the sets. A stage belongs to the
	// one that made it, since another would take its files for orphans; opened by
	// another it is refused. Empty: not looked at.
	Catalog string
	FS      disk.FS
	// Wait is told when a call begins to wait for "space" or "lock"; detail is for
	// people and says who has it. What it returns is called when the wait is over.
	// It is called from the goroutine that waits. nil: nobody is told.
	Wait func(on, detail string) (done func())
}

// The parts of a stage's directory.
const (
	tempArea   = "temp"
	finalArea  = "final"
	orphanArea = "orphans"
	ledgerArea = "ledger"
)

// recheck is how often a wait looks again by itself: at other processes, which
// may have released or died, and at the filesystem, which tells nobody when it
// gets free. A full stage means that the volumes are fed, so a tenth of a second
// more costs no throughput.
const recheck = 100 * time.Millisecond

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$`)

// Stage is an opened stage: one owner. Its methods may be called from several
// goroutines.
type Stage struct {
	path    string
	disk    disk.FS
	id      string
	quota   capstan.Bytes
	reserve capstan.Bytes
	hook    func(on, detail string) (done func())

	turn  chan struct{} // one look at the ledger at a time in this process
	owner *owner        // nil until Open has joined the ledger; then never changed

	mu      sync.Mutex // held for the fields below, never across I/O
	seen    fs.FileInfo
	self    record // the truth about this owner; the ledger follows
	last    uint64 // number of the last hold
	changed chan struct{}
	buried  []Found // removed from temp since the last Report
	closed  bool
}

// Open opens a directory as a stage and makes it if it is new: the directory,
// its marker, temp, final and ledger. ctx bounds the wait for the ledger's lock.
//
// It is refused (capstan.ErrRefused, no file touched) when temp and final lie on
// different filesystems or mounts, when the directory holds a temp, final or
// ledger that no stage made, when the marker is damaged, newer than this program
// or of another catalog, or when o.Known is not there.
func Open(ctx context.Context, dir string, o Options) (*Stage, error) {
	if o.Quota < 0 {
		return nil, &capstan.Error{Class: capstan.ErrUsage, Op: "open stage", Object: dir, Err: fmt.Errorf("a quota of %s", o.Quota)}
	}
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Stage{
		path: path, disk: o.FS, hook: o.Wait,
		turn: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	if err := s.adopt(o); err != nil {
		return nil, err
	}
	if err := s.makeAreas(); err != nil {
		return nil, err
	}
	if err := s.join(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// ID is the stage's identity, for Options.Known of the next opening.
func (s *Stage) ID() string { return s.id }

// Path is the stage's directory, absolute.
func (s *Stage) Path() string { return s.path }

// Close ends this owner: its claims and reservations end, and waiting calls fail
// with fs.ErrClosed. Files that are being written are ended before; one that was
// not is removed by whoever looks at the ledger next. A second Close does nothing.
func (s *Stage) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.announce()
	switch {
	case s.owner == nil:
		return nil
	case slices.ContainsFunc(s.snapshot().Holds, func(h hold) bool { return h.Name != "" }):
		return s.owner.die()
	}
	return s.owner.leave(s.disk)
}

// check is the beginning of every method that names a file.
func (s *Stage) check(ctx context.Context, set capstan.SetID, names ...string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if _, err := capstan.ParseSetID(string(set)); err != nil {
		return err
	}
	for _, name := range names {
		if !namePattern.MatchString(name) {
			return fmt.Errorf("%q cannot be the name of a file in the stage", name)
		}
	}
	return s.present()
}

func (s *Stage) area(area string) string { return filepath.Join(s.path, area) }

func (s *Stage) dir(area string, set capstan.SetID) string {
	return filepath.Join(s.path, area, string(set))
}

func (s *Stage) file(area string, set capstan.SetID, name string) string {
	return filepath.Join(s.path, area, string(set), name)
}

// declare tells the hook of a wait.
func (s *Stage) declare(on, detail string) (done func()) {
	if s.hook == nil {
		return func() {}
	}
	return s.hook(on, detail)
}

// changes is closed at the next announce. It is asked for before looking, so
// that what happens after the look is not missed.
func (s *Stage) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// announce wakes whoever waits in this process: room may be free.
func (s *Stage) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// pause ends at the next change, after a while, or with ctx and its cause.
func pause(ctx context.Context, changed <-chan struct{}, while time.Duration) error {
	timer := time.NewTimer(while)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-changed:
	case <-timer.C:
	}
	return context.Cause(ctx)
}
