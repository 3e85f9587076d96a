package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"capstan"
)

// Fate is what becomes of a sealed file that is found at the start.
type Fate uint8

// The fates. A file that the catalog does not know is an orphan: only Keep says
// that it is none.
const (
	Keep     Fate = iota // the catalog knows it: it waits for its volumes, or is adopted
	Leave                // an orphan that stays where it is, and is reported
	SetAside             // an orphan that is moved to orphans, out of the quota
	Discard              // an orphan that is removed
)

// Report is what Reconcile found and did.
type Report struct {
	Leftovers []Found         // unsealed files of dead owners, removed since the last report
	Kept      []Found         // sealed files that the catalog knows
	Left      []Found         // orphans that stay
	Aside     []Moved         // orphans that were moved
	Discarded []Found         // orphans that were removed
	Busy      []capstan.SetID // sets of other living owners; nothing of them was looked at
	Foreign   []string        // paths that no stage made; never touched
	Usage     Usage           // afterwards
}

// Moved is a file that was set aside.
type Moved struct {
	Found
	To string // path
}

// Reconcile puts the stage in order before anything runs: it removes from temp
// what dead owners have left, asks judge about every sealed file, and does what
// it says. Sets that another living owner has claimed are left alone, so it may
// be called while other processes work.
//
// judge is called without the ledger's lock, and for what is to be moved or
// removed once more with it: then no other owner can take the set meanwhile. It
// must not call the stage. Its error ends Reconcile; a file about which the
// catalog cannot answer is no orphan. The report tells what was done before an
// error, too.
func (s *Stage) Reconcile(ctx context.Context, judge func(ctx context.Context, set capstan.SetID, name string, size int64) (Fate, error)) (Report, error) {
	var report Report
	var sealed []Found
	err := s.transact(ctx, func(l *ledger) error {
		err := l.sweep()
		if err == nil {
			sealed, report.Foreign, report.Busy, err = l.ours()
		}
		return err
	})
	report.Leftovers = s.takeNotes()
	if err != nil {
		return report, err
	}
	var orphans []Found
	for _, file := range sealed {
		fate, err := judge(ctx, file.Set, file.Name, file.Size)
		if err != nil {
			return report, fmt.Errorf("ask about %s: %w", s.file(finalArea, file.Set, file.Name), err)
		}
		if fate == Keep {
			report.Kept = append(report.Kept, file)
		} else {
			orphans = append(orphans, file)
		}
	}
	if err := s.confirm(report.Kept); err != nil {
		return report, err
	}
	err = s.transact(ctx, func(l *ledger) error {
		for _, file := range orphans {
			if err := l.orphan(ctx, file, judge, &report); err != nil {
				return err
			}
		}
		view, err := l.survey()
		if err == nil {
			report.Usage = view.usage(s.quota)
		}
		return err
	})
	s.announce()
	return report, err
}

// confirm makes the names of kept files durable: their process may have been
// killed between the rename and the sync, and the catalog takes them from now on.
func (s *Stage) confirm(kept []Found) error {
	var last capstan.SetID
	for _, file := range kept {
		if file.Set == last {
			continue
		}
		last = file.Set
		if err := s.disk.SyncDir(s.dir(finalArea, file.Set)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // not there: its last copy was written meanwhile, and it was removed
		}
	}
	if last == "" {
		return nil
	}
	return s.disk.SyncDir(s.area(finalArea))
}

// othersHave reports whether another living owner has claimed a set.
func (l *ledger) othersHave(set capstan.SetID) bool {
	return slices.ContainsFunc(l.others, func(r record) bool { return slices.Contains(r.Sets, set) })
}

// ours gives the sealed files of all sets that no other living owner has.
func (l *ledger) ours() (sealed []Found, foreign []string, busy []capstan.SetID, err error) {
	view, err := l.survey()
	if err != nil {
		return nil, nil, nil, err
	}
	own := l.stage.snapshot()
	for _, file := range view.final {
		written := slices.ContainsFunc(own.Holds, func(h hold) bool { return h.place() == file.place() })
		if !written && !l.othersHave(file.Set) {
			sealed = append(sealed, file)
		}
	}
	for _, r := range l.others {
		busy = append(busy, r.Sets...)
	}
	slices.Sort(busy)
	return sealed, view.foreign, busy, nil
}

// sweep removes the files in temp that nobody writes, unless their set belongs to
// another living owner, and the directories that nobody needs.
func (l *ledger) sweep() error {
	s := l.stage
	view, err := l.survey()
	if err != nil {
		return err
	}
	named := map[place]bool{}
	for _, r := range view.records {
		for _, h := range r.Holds {
			named[h.place()] = true
		}
	}
	for _, file := range view.temp {
		if named[file.place()] || l.othersHave(file.Set) {
			continue
		}
		if err := removeFile(s.disk, s.file(tempArea, file.Set, file.Name)); err != nil {
			return err
		}
		s.note(file)
		view.empty = append(view.empty, file.Set)
	}
	for _, set := range view.empty {
		if err := l.tidy(set); err != nil {
			return err
		}
	}
	return nil
}

// orphan does with a file what judge says now.
func (l *ledger) orphan(ctx context.Context, file Found, judge func(context.Context, capstan.SetID, string, int64) (Fate, error), report *Report) error {
	if l.othersHave(file.Set) {
		return nil
	}
	s := l.stage
	path := s.file(finalArea, file.Set, file.Name)
	fate, err := judge(ctx, file.Set, file.Name, file.Size)
	if err != nil {
		return fmt.Errorf("ask about %s: %w", path, err)
	}
	switch fate {
	case Keep:
		report.Kept = append(report.Kept, file)
		return s.confirm([]Found{file})
	case Leave:
		report.Left = append(report.Left, file)
		return nil
	case SetAside:
		to, err := s.setAside(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		report.Aside = append(report.Aside, Moved{file, to})
	case Discard:
		if err := removeFile(s.disk, path); err != nil {
			return err
		}
		report.Discarded = append(report.Discarded, file)
	default:
		return fmt.Errorf("%s: a fate %d that is none", path, fate)
	}
	if err := s.disk.SyncDir(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return l.tidy(file.Set)
}

// setAside moves a sealed file to orphans, under its name or, if that is taken,
// with a number after it.
func (s *Stage) setAside(file Found) (to string, err error) {
	dir := s.dir(orphanArea, file.Set)
	if err := s.disk.MkdirAll(dir); err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		to = filepath.Join(dir, file.Name)
		if n > 1 {
			to += "." + strconv.Itoa(n)
		}
		err = s.disk.RenameNew(s.file(finalArea, file.Set, file.Name), to)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	return to, s.disk.SyncDir(dir)
}

// note remembers a file that was removed from temp for the next report.
func (s *Stage) note(file Found) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buried = append(s.buried, file)
}

func (s *Stage) takeNotes() []Found {
	s.mu.Lock()
	defer s.mu.Unlock()
	notes := s.buried
	s.buried = nil
	return notes
}
