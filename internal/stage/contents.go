package stage

import (
	"context"
	"errors"
	"io/fs"

	"capstan"
)

// Open opens a sealed file for reading; fs.ErrNotExist if there is none. The
// caller closes the reader before it has the file removed.
func (s *Stage) Open(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeReader, error) {
	if err := s.check(ctx, set, name); err != nil {
		return nil, err
	}
	reader, err := s.disk.Open(s.file(finalArea, set, name))
	if err != nil {
		return nil, err
	}
	return reader, nil
}

// List names the sealed files of a set with their sizes, by name; none if there
// is no such set. One that is just being sealed may be among them.
func (s *Stage) List(ctx context.Context, set capstan.SetID) ([]capstan.StoredFile, error) {
	if err := s.check(ctx, set); err != nil {
		return nil, err
	}
	entries, err := s.disk.ReadDir(s.dir(finalArea, set))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []capstan.StoredFile
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !namePattern.MatchString(entry.Name()) {
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

// Remove removes sealed files of a set, then the set's directories if they are
// empty, and wakes who waits for room. When it returns nil, a power failure
// cannot bring the files back. It is repeatable: files that are not there are fine.
func (s *Stage) Remove(ctx context.Context, set capstan.SetID, names ...string) error {
	if err := s.check(ctx, set, names...); err != nil {
		return err
	}
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := removeFile(s.disk, s.file(finalArea, set, name)); err != nil {
			return err
		}
	}
	s.announce()
	if err := s.disk.SyncDir(s.dir(finalArea, set)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.transact(ctx, func(l *ledger) error { return l.tidy(set) })
}
