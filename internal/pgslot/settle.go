package pgslot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"

	"capstan"
)

// Settle ends the quarantines in a directory that were killed on their way, and gives
// all that there are. One that had not moved anything yet is taken back; one that had
// is written down as moved. Nothing in pg_replslot is changed by that. The caller
// holds the directory's lock (Lock).
func (p *Place) Settle(ctx context.Context, root string) ([]Record, error) {
	if err := p.sweep(ctx, root); err != nil {
		return nil, err
	}
	records, err := p.Records(ctx, root)
	if err != nil {
		return nil, err
	}
	var kept []Record
	for _, r := range records {
		if r.Step == StepPrepared {
			if err := p.settle(&r); err != nil {
				return nil, err
			}
		}
		if r.Step != StepPrepared {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

// settle ends one that is prepared: which directory lies in the quarantine says
// whether the exchange was done.
func (p *Place) settle(r *Record) error {
	is, err := lookAt(r.Path())
	switch {
	case err == nil && is.dir && is.inode == r.Old:
		for _, dir := range []string{p.replslot(), r.root} {
			if err := p.FS.SyncDir(dir); err != nil {
				return err
			}
		}
		r.Step = StepMoved
		return p.write(r, false)
	case err == nil && is.dir && is.inode == r.New, errors.Is(err, fs.ErrNotExist):
		// Also when a taking back was killed between its removals.
		return p.discard(r)
	case err == nil:
		err = fmt.Errorf("%s is neither the directory that the slot had nor the one that was made for it", r.Path())
	}
	return refused("settle the quarantine", r.ID, err, "look at it: was it copied or restored? move it and its record away when it is not needed")
}

// Names that only a quarantine gives: of its directory, and of a record that was
// being written when the call was killed.
const (
	idPattern   = `^\d{8}T\d{6}\.\d{3}Z-[a-z0-9_]+$`
	partPattern = `^\.\d{8}T\d{6}\.\d{3}Z-[a-z0-9_]+\.json\.[A-Z0-9]+\.part$`
)

// sweep removes what a quarantine left that was killed before its record was written:
// until then it has only made a directory with a copy of the state.
func (p *Place) sweep(ctx context.Context, root string) error {
	entries, err := p.FS.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	id, part := regexp.MustCompile(idPattern), regexp.MustCompile(partPattern)
	changed := false
	for _, entry := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		path := filepath.Join(root, entry.Name())
		switch {
		case entry.Type().IsRegular() && part.MatchString(entry.Name()):
			err = p.FS.Remove(path)
		case entry.IsDir() && id.MatchString(entry.Name()):
			if _, err = p.FS.Lstat(path + ".json"); !errors.Is(err, fs.ErrNotExist) {
				err = nil
				continue
			}
			err = p.sweepDir(path)
		default:
			continue
		}
		if err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return p.FS.SyncDir(root)
}

// sweepDir removes a directory that holds nothing or a state alone.
func (p *Place) sweepDir(path string) error {
	entries, err := p.FS.ReadDir(path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() != stateFile || !entry.Type().IsRegular() {
			return refused("settle the quarantine", path, fmt.Errorf("it has no record and holds %s", entry.Name()), "look at it; Capstan did not leave it like that")
		}
	}
	for _, entry := range entries {
		if err := p.FS.Remove(filepath.Join(path, entry.Name())); err != nil {
			return err
		}
	}
	return p.FS.Remove(path)
}

// Started notes that the server came up after a quarantine: from now on its spill
// files may be purged. It fails as Verify does unless the slot is whole.
func (p *Place) Started(ctx context.Context, r *Record) error {
	if err := p.Verify(ctx, r); err != nil {
		return err
	}
	if r.Step != StepMoved {
		return nil
	}
	done := *r
	done.Step = StepStarted
	if err := p.write(&done, false); err != nil {
		return err
	}
	*r = done
	return nil
}

// Verify looks whether the slot of a quarantine is whole: there is one directory
// whose state is that of the slot, it has the slot's name, and its restart_lsn is not
// before the one that it had. Else the error is capstan.ErrIncomplete.
func (p *Place) Verify(ctx context.Context, r *Record) error {
	slots, err := p.Slots()
	if err != nil {
		return err
	}
	var bearers []string
	for _, dir := range slots {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		state, _, err := p.state(filepath.Join(p.slotDir(dir), stateFile))
		if err != nil {
			if dir == r.Slot {
				return p.unwell(r, err)
			}
			continue
		}
		if state.Name != r.Slot {
			continue
		}
		bearers = append(bearers, dir)
		if state.RestartLSN < r.RestartLSN {
			return p.unwell(r, fmt.Errorf("its restart_lsn is %s and was %s", state.RestartLSN, r.RestartLSN))
		}
	}
	if len(bearers) != 1 || bearers[0] != r.Slot {
		return p.unwell(r, fmt.Errorf("the directories that claim to be it are %d: %s", len(bearers), strings.Join(bearers, ", ")))
	}
	return nil
}

func (p *Place) unwell(r *Record, err error) error {
	return &capstan.Error{
		Class: capstan.ErrIncomplete, Op: "verify slot", Object: r.Slot, Err: err, Safe: "its old state is in " + filepath.Join(r.Path(), stateFile),
		Next: "see: capstan pg slot-doctor -D " + p.Dir,
	}
}
