package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"capstan"
)

// lockRetry is how often a lock that is waited for is tried again.
const lockRetry = 20 * time.Millisecond

// maxHolder bounds how much of a lock's note is read.
const maxHolder = 4096

// Lock is a job's lock. It ends with Unlock, or with the process.
type Lock struct {
	file *flock.Flock
	note string // path of the note that tells others who holds it
	*attendance
	unlock sync.Once
	err    error
}

// holder is what the note of a held lock says.
type holder struct {
	Job   capstan.JobKey `json:"job"`
	PID   int            `json:"pid"`
	Host  string         `json:"host"`
	Since time.Time      `json:"since"`
}

func (h holder) String() string {
	if h.PID == 0 {
		return "another process runs it"
	}
	text := fmt.Sprintf("process %d", h.PID)
	if h.Host != "" {
		text += " on " + h.Host
	}
	return text + " has run it since " + h.Since.Local().Format(time.DateTime)
}

// LockJob takes the lock of a job, or fails at once with capstan.ErrLocked and
// says who holds it. It is an OS file lock: the kernel frees it when the process
// dies, and two catalogs opened in one process exclude each other too. Where the
// filesystem hangs it is left behind after the end of ctx, and may be held until the end
// of the process.
func (c *Catalog) LockJob(ctx context.Context, job capstan.JobKey) (*Lock, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	taken := make(chan *Lock, 1) // what comes after the end of the wait stays there
	err := c.attend(ctx, func() error {
		lock, err := c.lockJob(job)
		taken <- lock
		return err
	}, nil, nil)
	if err != nil {
		return nil, err
	}
	return <-taken, nil
}

func (c *Catalog) lockJob(job capstan.JobKey) (*Lock, error) {
	if err := c.fs.MkdirAll(c.locks); err != nil {
		return nil, err
	}
	base := filepath.Join(c.locks, lockName("job-"+string(job)))
	lock := &Lock{file: newFlock(base + ".lock"), note: base + ".json", attendance: c.attendance}
	taken, err := lock.file.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock of job %s: %w", job, err)
	}
	if !taken {
		return nil, &capstan.Error{
			Class: capstan.ErrLocked, Op: "job", Object: string(job), Err: errors.New(c.readHolder(lock.note).String()),
			Next: "wait for it, or see: capstan runs",
		}
	}
	host, _ := os.Hostname() // only for people; empty is fine
	note, err := json.Marshal(holder{Job: job, PID: os.Getpid(), Host: host, Since: c.now()})
	if err == nil {
		err = c.fs.Replace(lock.note, note)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock of job %s: %w", job, err), lock.Unlock())
	}
	return lock, nil
}

// Unlock frees the lock, or leaves that behind where the filesystem hangs: then the end
// of the process frees it. A second call does nothing and gives the same error.
func (l *Lock) Unlock() error {
	l.unlock.Do(func() {
		freed := make(chan error, 1)
		go func() { freed <- l.free() }()
		timer := time.NewTimer(l.after)
		defer timer.Stop()
		select {
		case l.err = <-freed:
		case <-timer.C:
			l.err = l.stalled(l.after)
		}
	})
	return l.err
}

func (l *Lock) free() error {
	// The note goes first: once the lock is free it may be the next holder's.
	err := os.Remove(l.note)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.file.Unlock())
}

// readHolder reads a note; of a process that was killed it may tell the one
// before, of one that has only just begun nothing.
func (c *Catalog) readHolder(note string) (h holder) {
	data, err := c.fs.ReadFile(note, maxHolder)
	if err != nil {
		return holder{}
	}
	return parseHolder(data)
}

func parseHolder(data []byte) (h holder) {
	if json.Unmarshal(data, &h) != nil {
		return holder{}
	}
	return h
}

// lockFile waits for a lock of the catalog itself and gives what frees it.
func (c *Catalog) lockFile(ctx context.Context, name string) (unlock func() error, err error) {
	file := newFlock(filepath.Join(c.locks, lockName(name)+".lock"))
	var waiting atomic.Bool
	err = c.attend(ctx, func() error {
		taken, err := file.TryLock()
		if err == nil && !taken {
			waiting.Store(true)
			defer c.wait("lock")()
			_, err = file.TryLockContext(ctx, lockRetry)
		}
		return err
	}, nil, waiting.Load)
	if errors.Is(err, errSilent) {
		return nil, err
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("lock %s: %w", file.Path(), err)
	}
	return file.Unlock, nil
}

// Lock files are never removed: somebody may just be opening one.
func newFlock(path string) *flock.Flock {
	return flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
}

// maxLockName keeps lock files well below the 255 bytes that filesystems allow.
const maxLockName = 150

// lockName makes a file name of any text, the same for the same text.
func lockName(text string) string {
	name := url.QueryEscape(text)
	if len(name) > maxLockName {
		return fmt.Sprintf("%s-%x", name[:maxLockName/2], sha256.Sum256([]byte(text)))
	}
	return name
}
