package postgres

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/gofrs/flock"

	"capstan"
	"capstan/internal/disk"
)

// Directory is where a dump, or several, are written: beside their place, in DIR.part,
// of which a part is renamed to DIR when all of it is durable. What is at DIR is what was
// published, always.
type Directory struct {
	disk        disk.FS
	final, part string
	lock        *flock.Flock
}

const (
	lockName = "capstan-dump.lock" // in DIR.part: it is ours, and somebody is at work
	bodyName = "dump"              // in DIR.part: what becomes DIR
)

// OpenDirectory takes the place for a dump; what an earlier call that was killed has
// left there is removed by Fresh. A place where something is, is capstan.ErrRefused, one
// that another dump is written to capstan.ErrLocked.
func OpenDirectory(d disk.FS, dir string) (*Directory, error) {
	final, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	t := &Directory{disk: d, final: final, part: final + ".part"}
	if err := t.vacant(); err != nil {
		return nil, err
	}
	if err := d.MkdirAll(filepath.Dir(final)); err != nil {
		return nil, err
	}
	if err := d.Mkdir(t.part); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if _, err := d.Lstat(filepath.Join(t.part, lockName)); err != nil {
			return nil, &capstan.Error{
				Class: capstan.ErrRefused, Op: "dump into", Object: final, Err: errors.New(t.part + " is there and not of an earlier dump"),
				Safe: "nothing was touched", Next: "remove it, or name another directory",
			}
		}
	}
	t.lock = flock.New(filepath.Join(t.part, lockName), flock.SetPermissions(0o600))
	locked, err := t.lock.TryLock()
	if err != nil {
		return nil, &capstan.Error{Op: "lock", Object: t.part, Err: err}
	}
	if !locked {
		return nil, &capstan.Error{Class: capstan.ErrLocked, Op: "dump into", Object: final, Err: errors.New("another dump is being written there")}
	}
	return t, nil
}

// vacant checks that nothing is in the dump's place, but for an empty directory.
func (t *Directory) vacant() error {
	entries, err := t.disk.ReadDir(t.final)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) == 0 {
		return nil
	}
	if err == nil {
		err = errors.New("it is there already, and not empty")
	}
	return &capstan.Error{Class: capstan.ErrRefused, Op: "dump into", Object: t.final, Err: err, Safe: "nothing was touched", Next: "name a directory that does not exist yet"}
}

// path is where a file of the dump lies while it is written.
func (t *Directory) path(name string) string { return filepath.Join(t.part, bodyName, name) }

// Fresh gives the path of what becomes the dump: nothing is there.
func (t *Directory) Fresh() (string, error) {
	body := filepath.Join(t.part, bodyName)
	return body, t.clear(body, "")
}

// clear removes a directory, or all that is in it but one file.
func (t *Directory) clear(dir, kept string) error {
	entries, err := t.disk.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == kept {
			continue
		}
		remove := t.disk.Remove
		if entry.IsDir() {
			remove = func(sub string) error { return t.clear(sub, "") }
		}
		if err := remove(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	if kept != "" {
		return nil
	}
	return t.disk.Remove(dir)
}

// Publish gives the dump its name. All its files are durable by now.
func (t *Directory) Publish() error {
	body := filepath.Join(t.part, bodyName)
	if err := t.disk.SyncDir(body); err != nil {
		return err
	}
	if err := t.vacant(); err != nil {
		return err
	}
	if err := t.disk.Rename(body, t.final); err != nil {
		return err
	}
	return t.disk.SyncDir(filepath.Dir(t.final))
}

// Close removes what is beside the dump. Of a dump that was not published that is all
// of it.
func (t *Directory) Close() error {
	err := t.clear(filepath.Join(t.part, bodyName), "")
	// The lock's file goes before the lock: whoever opens it in between has a file
	// without a name, and fails at his next step.
	if err == nil {
		err = t.clear(t.part, "")
	}
	return errors.Join(err, t.lock.Close())
}
