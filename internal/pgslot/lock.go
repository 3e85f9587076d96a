package pgslot

import (
	"errors"
	"path/filepath"

	"github.com/gofrs/flock"

	"capstan"
)

// Lock makes the quarantine directory if need be, and locks it against other calls
// that work on it. It does not wait: capstan.ErrLocked says that another has it. The
// lock dies with the process. release is called once.
func (p *Place) Lock(where Where) (release func() error, err error) {
	root := where.Path(p.Dir)
	if err := p.checkRoot(root, where.Inside); err != nil {
		return nil, err
	}
	if err := p.makeRoot(root); err != nil {
		return nil, err
	}
	path := filepath.Join(root, "lock")
	lock := flock.New(path, flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err != nil {
		return nil, &capstan.Error{Op: "lock", Object: path, Err: err, Safe: "nothing was touched", Next: "run as the owner of PGDATA, or as root"}
	}
	if !held {
		return nil, &capstan.Error{
			Class: capstan.ErrLocked, Op: "lock", Object: path, Err: errors.New("another call works on this quarantine"), Safe: "nothing was touched",
			Next: "wait for it to end",
		}
	}
	// The owner must be able to take it after root has.
	if err := p.FS.SetOwner(path, p.UID, p.GID, 0o600); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return lock.Unlock, nil
}
