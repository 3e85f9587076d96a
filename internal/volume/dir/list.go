package dir

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"capstan"
)

// List names the finished files of a set, by name; none if there is no such set.
// Files whose names cannot be ours are left out.
func (v *Volume) List(ctx context.Context, set capstan.SetID) ([]capstan.StoredFile, error) {
	if err := v.check(ctx, set); err != nil {
		return nil, err
	}
	entries, err := v.readSet(set)
	if err != nil {
		return nil, err
	}
	var files []capstan.StoredFile
	for _, entry := range entries {
		if !entry.Type().IsRegular() || checkName(entry.Name()) != nil {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, capstan.StoredFile{Name: entry.Name(), Size: info.Size()})
	}
	return files, nil
}

// readSet lists a set's directory; it is empty if there is none.
func (v *Volume) readSet(set capstan.SetID) ([]fs.DirEntry, error) {
	entries, err := v.disk.ReadDir(v.dir(set))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// Sets lists the directories that bear the name of a set, oldest first,
// whoever made them.
func (v *Volume) Sets(ctx context.Context) ([]capstan.SetID, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := v.present(); err != nil {
		return nil, err
	}
	entries, err := v.disk.ReadDir(v.path)
	if err != nil {
		return nil, err
	}
	var sets []capstan.SetID
	for _, entry := range entries {
		if id, err := capstan.ParseSetID(entry.Name()); err == nil && entry.IsDir() {
			sets = append(sets, id)
		}
	}
	slices.SortFunc(sets, func(a, b capstan.SetID) int {
		return cmp.Or(strings.Compare(a.Month(), b.Month()), cmp.Compare(a.Number(), b.Number()))
	})
	return sets, nil
}

// Discard removes the unfinished files of a set that this catalog claimed. A
// set that is not there has none.
func (v *Volume) Discard(ctx context.Context, set capstan.SetID) (int, error) {
	if err := v.check(ctx, set); err != nil {
		return 0, err
	}
	if v.catalog != "" {
		if err := v.removeClaim(v.claimDir(set, v.catalog)); err != nil {
			return 0, err
		}
	}
	if err := v.own(set); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	entries, err := v.readSet(set)
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), partSuffix)
		if !ok || checkName(name) != nil || !entry.Type().IsRegular() {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return removed, err
		}
		if err := v.disk.Remove(v.file(set, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		removed++
	}
	if removed == 0 {
		return 0, nil
	}
	return removed, v.disk.SyncDir(v.dir(set))
}

// Remove deletes finished files of a set that this catalog claimed, and the
// set's directory when nothing but its owner file is left. Names that are not
// there are fine, so it can be repeated after a kill.
func (v *Volume) Remove(ctx context.Context, set capstan.SetID, names ...string) error {
	if err := v.check(ctx, set, names...); err != nil {
		return err
	}
	if err := v.own(set); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := v.disk.Remove(v.file(set, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(names) > 0 {
		if err := v.disk.SyncDir(v.dir(set)); err != nil {
			return err
		}
	}
	return v.removeEmpty(set)
}

// removeEmpty undoes a claim: the directory first loses its name, then its
// owner file, so that a kill leaves no set without an owner.
func (v *Volume) removeEmpty(set capstan.SetID) error {
	entries, err := v.readSet(set)
	if err != nil || len(entries) != 1 || entries[0].Name() != ownerName {
		return err
	}
	by, err := v.readOwner(v.dir(set), set)
	if err != nil {
		return err
	}
	home, _, _ := strings.Cut(by, capstan.ClaimMark)
	temp := v.claimDir(set, home) // which Discard clears away after a kill
	if err := v.removeClaim(temp); err != nil {
		return err
	}
	if err := v.disk.RenameNew(v.dir(set), temp); err != nil {
		return err
	}
	v.mu.Lock()
	delete(v.ours, set)
	v.mu.Unlock()
	return errors.Join(v.removeClaim(temp), v.disk.SyncDir(v.path))
}
