package pgslot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"capstan"
	"capstan/internal/pgdata"
)

// Where says where quarantines are put.
type Where struct {
	Root string // an absolute path; empty: DefaultRoot, or within PGDATA with Inside
	// Inside allows a place within PGDATA, outside pg_replslot: for a PGDATA that is a
	// filesystem of its own. The start then still syncs the spill files, one by one
	// before version 14.
	Inside bool
}

// DefaultRoot is where the quarantines of a data directory are: beside it.
func DefaultRoot(pgdata string) string { return pgdata + ".capstan-quarantine" }

// InsideRoot is the place within PGDATA.
func InsideRoot(pgdata string) string { return filepath.Join(pgdata, "capstan_quarantine") }

// Path is the directory that Where stands for.
func (w Where) Path(pgdata string) string {
	switch {
	case w.Root != "":
		return filepath.Clean(w.Root)
	case w.Inside:
		return InsideRoot(pgdata)
	}
	return DefaultRoot(pgdata)
}

// Check finds out whether a slot could be quarantined now, and changes nothing.
func (p *Place) Check(slot string, where Where) error {
	if err := p.CheckFiles(slot, where); err != nil {
		return err
	}
	return p.idle(opQuarantine, slot)
}

// CheckFiles is Check without the question whether a server lives.
func (p *Place) CheckFiles(slot string, where Where) error {
	if _, err := p.checkSlot(slot); err != nil {
		return err
	}
	return p.checkRoot(where.Path(p.Dir), where.Inside)
}

const opQuarantine = "quarantine slot"

// checkSlot looks whether the directory and its state file are those of the slot.
func (p *Place) checkSlot(slot string) (state []byte, err error) {
	refuse := func(err error) ([]byte, error) {
		return nil, refused(opQuarantine, slot, err, "see: capstan pg slot-doctor -D "+p.Dir)
	}
	if !pgdata.ValidSlotName(slot) {
		return refuse(errors.New("this is not the name of a slot"))
	}
	info, err := p.FS.Lstat(p.slotDir(slot))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, p.noSlot(slot)
	case err != nil:
		return refuse(err)
	case !info.IsDir():
		return refuse(errors.New("it is no directory"))
	}
	parsed, state, err := p.state(filepath.Join(p.slotDir(slot), stateFile))
	if err != nil {
		return refuse(err)
	}
	if parsed.Name != slot {
		return refuse(fmt.Errorf("its state file is that of slot %s", parsed.Name))
	}
	return state, nil
}

// checkRoot looks whether a directory may hold quarantines; it need not be there.
func (p *Place) checkRoot(root string, inside bool) error {
	refuse := func(err error, next string) error { return refused("quarantine in", root, err, next) }
	if !filepath.IsAbs(root) {
		return refuse(errors.New("it is not an absolute path"), "give an absolute path with --quarantine")
	}
	real, err := resolve(root)
	if err != nil {
		return refuse(err, "give another directory with --quarantine")
	}
	slots, err := filepath.EvalSymlinks(p.replslot())
	if err != nil {
		return refuse(err, "check pg_replslot")
	}
	data, err := filepath.EvalSymlinks(p.Dir)
	if err != nil {
		return refuse(err, "check PGDATA")
	}
	if within(real, slots) {
		return refuse(errors.New("it is inside pg_replslot: the server would take what is there for slots"), "give a directory outside PGDATA with --quarantine")
	}
	if within(real, data) && !inside {
		return refuse(errors.New("it is inside PGDATA: the start would sync every spill file"), "give a directory outside PGDATA, or allow it with --inside")
	}
	existing := real
	for {
		info, err := p.FS.Lstat(existing)
		if err == nil {
			if !info.IsDir() {
				return refuse(fmt.Errorf("%s is no directory", existing), "give another directory with --quarantine")
			}
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || existing == filepath.Dir(existing) {
			return refuse(err, "give another directory with --quarantine")
		}
		existing = filepath.Dir(existing)
	}
	same, err := p.FS.SameFilesystem(existing, slots)
	if err != nil {
		return refuse(err, "give another directory with --quarantine")
	}
	if !same {
		return refuse(errors.New("it is on another filesystem than pg_replslot, and moving there would be a copy"),
			"give a directory on the same filesystem with --quarantine, or use --inside, which leaves them within PGDATA")
	}
	return nil
}

// resolve follows the symbolic links in the part of a path that exists.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	parent := filepath.Dir(path)
	if parent == path {
		return "", err
	}
	if parent, err = resolve(parent); err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}

// within reports whether a path is a directory or in it.
func within(path, dir string) bool {
	relative, err := filepath.Rel(dir, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, "../")
}

// Quarantine moves a slot's spill files away, in time that does not depend on their
// number: its directory changes places with one that holds the same state alone. It
// is refused, with nothing touched, where Check refuses, and where the filesystem
// cannot exchange two directories in one step. A call that was killed is ended by
// Settle.
func (p *Place) Quarantine(ctx context.Context, slot string, where Where) (Record, error) {
	if err := p.Check(slot, where); err != nil {
		return Record{}, err
	}
	if ctx.Err() != nil {
		return Record{}, context.Cause(ctx)
	}
	data, err := p.checkSlot(slot)
	if err != nil {
		return Record{}, err
	}
	root := where.Path(p.Dir)
	if err := p.makeRoot(root); err != nil {
		return Record{}, err
	}
	r, err := p.prepare(root, slot, data, time.Now())
	if err != nil {
		return Record{}, err
	}
	err = p.swap(ctx, &r, data)
	return r, err
}

// makeRoot makes the quarantine directory for the owner of PGDATA alone.
func (p *Place) makeRoot(root string) error {
	info, err := p.FS.Lstat(root)
	if errors.Is(err, fs.ErrNotExist) {
		if err = p.FS.MkdirAll(filepath.Dir(root)); err == nil {
			if err = p.FS.Mkdir(root); err == nil {
				err = p.own(root, 0o700)
			}
		}
	} else if err == nil && !info.IsDir() {
		err = errors.New("it is no directory")
	}
	if err != nil {
		return refused("make the quarantine", root, err, "give a directory that this user can make with --quarantine")
	}
	return nil
}

// own sets owner and mode and makes them durable.
func (p *Place) own(dir string, mode fs.FileMode) error {
	if err := p.FS.SetOwner(dir, p.UID, p.GID, mode); err != nil {
		return err
	}
	if err := p.FS.SyncDir(dir); err != nil {
		return err
	}
	return p.FS.SyncDir(filepath.Dir(dir))
}

// prepare makes the directory that the slot is to have, and the record.
func (p *Place) prepare(root, slot string, state []byte, now time.Time) (Record, error) {
	parsed, err := pgdata.ParseSlotState(state)
	if err != nil {
		return Record{}, err
	}
	r := Record{
		Format: recordFormat, ID: now.UTC().Format("20060102T150405.000Z") + "-" + slot, Dir: p.Dir, System: p.SystemID, Slot: slot,
		Began: now.UTC(), Step: StepPrepared, RestartLSN: parsed.RestartLSN, ConfirmedFlush: parsed.ConfirmedFlush, root: root,
	}
	old, err := lookAt(p.slotDir(slot))
	if err != nil {
		return r, err
	}
	oldState, err := lookAt(filepath.Join(p.slotDir(slot), stateFile))
	if err != nil {
		return r, err
	}
	fail := func(err error) (Record, error) {
		return r, refused(opQuarantine, slot, errors.Join(err, p.discard(&r)), "give another directory with --quarantine, as a user who may write there")
	}
	if err := p.FS.Mkdir(r.Path()); err != nil {
		return r, refused(opQuarantine, slot, err, "give another directory with --quarantine")
	}
	file := filepath.Join(r.Path(), stateFile)
	if err := p.writeState(file, state, oldState.mode); err != nil {
		return fail(err)
	}
	if err := p.own(r.Path(), old.mode); err != nil {
		return fail(err)
	}
	made, err := lookAt(r.Path())
	if err != nil {
		return fail(err)
	}
	madeState, err := lookAt(file)
	if err != nil {
		return fail(err)
	}
	for what, got := range map[string]identity{r.Path(): made, file: madeState} {
		if got.uid != p.UID || got.gid != p.GID && got.gid != old.gid {
			return fail(fmt.Errorf("%s belongs to user %d, not to %d as PGDATA does; the server could not read it", what, got.uid, p.UID))
		}
	}
	r.Old, r.New = old.inode, made.inode
	if err := p.write(&r, true); err != nil {
		return fail(err)
	}
	return r, nil
}

// writeState writes the new state file, durable with its owner and mode.
func (p *Place) writeState(path string, state []byte, mode fs.FileMode) error {
	file, err := p.FS.Create(path)
	if err != nil {
		return err
	}
	_, err = file.Write(state)
	if err == nil {
		err = p.FS.SetOwner(path, p.UID, p.GID, mode)
	}
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// swap exchanges the directories, and looks at each thing once more right before.
func (p *Place) swap(ctx context.Context, r *Record, state []byte) error {
	undo := func(err error) error { return errors.Join(err, p.discard(r)) }
	now, err := p.checkSlot(r.Slot)
	if err != nil {
		return undo(err)
	}
	ready, err := p.FS.ReadFile(filepath.Join(r.Path(), stateFile), pgdata.SlotStateLimit)
	if err != nil || !bytes.Equal(now, state) || !bytes.Equal(ready, state) {
		return undo(refused(opQuarantine, r.Slot, errors.Join(errors.New("its state changed meanwhile"), err), "find out what works in PGDATA"))
	}
	if ctx.Err() != nil {
		return undo(context.Cause(ctx))
	}
	if is, err := lookAt(p.slotDir(r.Slot)); err != nil || is.inode != r.Old {
		return undo(refused(opQuarantine, r.Slot, errors.Join(errors.New("another directory has taken its place meanwhile"), err), "find out what works in PGDATA"))
	}
	if err := p.idle(opQuarantine, r.Slot); err != nil {
		return undo(err)
	}
	if err := p.FS.Exchange(p.slotDir(r.Slot), r.Path()); err != nil {
		return undo(refused(opQuarantine, r.Slot, err, "this filesystem cannot do it safely: start without --unstick"))
	}
	for _, dir := range []string{p.replslot(), r.root} {
		if err := p.FS.SyncDir(dir); err != nil {
			return p.unsure(r, err)
		}
	}
	r.Step = StepMoved
	if err := p.write(r, false); err != nil {
		r.Step = StepPrepared
		return p.unsure(r, err)
	}
	return nil
}

// unsure is the error of a step after the exchange: nothing is lost, and the next
// call goes on.
func (p *Place) unsure(r *Record, err error) error {
	return &capstan.Error{
		Op: opQuarantine, Object: r.Slot, Err: err, Safe: "the slot is whole",
		Next: "call the same command again: it goes on from here",
	}
}

// discard takes back what prepare made, as long as the slot still has its old
// directory. It removes nothing but the copy of the state.
func (p *Place) discard(r *Record) error {
	var errs []error
	for _, path := range []string{filepath.Join(r.Path(), stateFile), r.Path(), r.file()} {
		if err := p.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, p.FS.SyncDir(r.root))...)
}
