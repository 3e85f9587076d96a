package postgres

import (
	"sync"

	"golang.org/x/sync/errgroup"

	"capstan/internal/disk"
)

const (
	// syncing is how many goroutines make files durable.
	syncing = 4
	// syncFiles and syncBytes are how much they take at a time. A filesystem writes its
	// journal for the first of them, and has little left to do for the others.
	syncFiles = 64
	syncBytes = 4 << 20
)

// unsynced are files that are complete, and open until they are durable: an error of
// writing them out is told to whoever has them open. It is safe for concurrent use.
type unsynced struct {
	mu    sync.Mutex
	files []*disk.File
	bytes int64
}

func (u *unsynced) add(group *errgroup.Group, file *disk.File) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.files = append(u.files, file)
	if u.bytes += file.Size(); len(u.files) >= syncFiles || u.bytes >= syncBytes {
		u.sync(group)
	}
}

// rest makes durable what is left.
func (u *unsynced) rest(group *errgroup.Group) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sync(group)
}

func (u *unsynced) sync(group *errgroup.Group) {
	files := u.files
	u.files, u.bytes = nil, 0
	group.Go(func() (err error) {
		for _, file := range files {
			if err == nil {
				err = file.Sync()
			}
			if closeErr := file.Close(); err == nil {
				err = closeErr
			}
		}
		return err
	})
}
