package pgslot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"capstan/internal/pgdata"
)

// Repair does what a finding's Repair says, and notes that it did. It looks again
// before it changes anything, and refuses (capstan.ErrRefused) where that is not what
// was found, or where a server lives. The caller holds the quarantine's lock. A call
// that was killed has done the repair or has not; the next Examine tells.
func (p *Place) Repair(ctx context.Context, f *Finding, where Where) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if f.Repair == "" {
		return refused("repair", f.Path, errors.New("there is no safe repair for it"), f.Next)
	}
	if f.Kind == KindQuarantine {
		// Nothing in pg_replslot is changed by it.
		if err := p.settle(f.record); err != nil {
			return err
		}
		f.Repaired = true
		return nil
	}
	if err := p.idle("repair", f.Path); err != nil {
		return err
	}
	var err error
	switch f.Kind {
	case KindOwner:
		err = p.repairOwner(f)
	case KindMisnamed:
		if err = p.still(f); err == nil {
			err = p.FS.RenameNew(f.Path, p.slotDir(f.Slot))
		}
	case KindGhost:
		err = p.moveGhost(f, where)
	case KindNoState, KindBadState:
		err = p.putBack(f)
	default:
		err = fmt.Errorf("no repair is known for %s", f.Kind)
	}
	if err == nil {
		err = p.FS.SyncDir(p.replslot())
	}
	f.Repaired = err == nil
	return err
}

// still looks whether a directory's state is that of the slot of the finding.
func (p *Place) still(f *Finding) error {
	state, _, err := p.state(filepath.Join(f.Path, stateFile))
	if err == nil && state.Name != f.Slot {
		err = fmt.Errorf("it is of slot %s by now", state.Name)
	}
	if err != nil {
		return refused("repair", f.Path, err, "examine it again")
	}
	return nil
}

func (p *Place) repairOwner(f *Finding) error {
	is, err := lookAt(f.Path)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o600)
	if is.dir {
		mode = 0o700
	}
	if err := p.FS.SetOwner(f.Path, p.UID, p.GID, mode); err != nil {
		return refused("repair", f.Path, err, "run as root")
	}
	if is.dir {
		return p.FS.SyncDir(f.Path)
	}
	return p.FS.SyncDir(filepath.Dir(f.Path))
}

// moveGhost takes a directory out of pg_replslot whose slot has one of its own.
func (p *Place) moveGhost(f *Finding, where Where) error {
	if err := p.still(f); err != nil {
		return err
	}
	if state, _, err := p.state(filepath.Join(p.slotDir(f.Slot), stateFile)); err != nil || state.Name != f.Slot {
		return refused("repair", f.Path, errors.Join(fmt.Errorf("slot %s has no whole directory of its own any more", f.Slot), err), "examine it again")
	}
	root := where.Path(p.Dir)
	if err := p.checkRoot(root, where.Inside); err != nil {
		return err
	}
	if err := p.makeRoot(root); err != nil {
		return err
	}
	to := filepath.Join(root, "ghost-"+time.Now().UTC().Format("20060102T150405.000Z")+"-"+filepath.Base(f.Path))
	if err := p.FS.RenameNew(f.Path, to); err != nil {
		return refused("repair", f.Path, err, "give another directory with --quarantine")
	}
	f.Detail += "; it is now " + to
	return p.FS.SyncDir(root)
}

// putBack writes the state that a quarantine kept in place of the missing or damaged
// one.
func (p *Place) putBack(f *Finding) error {
	_, data, err := p.state(filepath.Join(f.record.Path(), stateFile))
	if err != nil {
		return refused("repair", f.Path, err, f.Next)
	}
	dir := p.slotDir(f.Slot)
	path := filepath.Join(dir, stateFile)
	if now, _, err := p.state(path); err == nil && now.Name == f.Slot {
		return refused("repair", f.Path, errors.New("it has a good state by now"), "examine it again")
	}
	if _, err := pgdata.ParseSlotState(data); err != nil {
		return err
	}
	// The server removes a file of this name when it starts (RestoreSlotFromDisk), so
	// that a kill in between leaves nothing behind.
	draft := path + ".tmp"
	if err := p.FS.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := p.writeState(draft, data, 0o600); err != nil {
		return err
	}
	if err := p.FS.Rename(draft, path); err != nil {
		return err
	}
	return p.FS.SyncDir(dir)
}
