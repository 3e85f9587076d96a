package catalog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/machine"
)

// Options say how a catalog is opened. The zero value is the usual one.
type Options struct {
	// ReadOnly opens a catalog that must be there, of exactly this release's
	// schema, and refuses every write; nothing is created or migrated.
	ReadOnly bool
	// Patience is how long one write waits for the writers of other processes
	// before it fails. 0 means two minutes.
	Patience time.Duration
	// Wait is called when an operation begins to wait, with what it waits for: "catalog"
	// or "lock" of other writers, "disk" that a call to the system comes back, which has
	// taken a second by then. The function that it returns is called when the wait is
	// over. Both must not block. nil: waits are not told.
	Wait func(on string) (done func())
	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

const defaultPatience = 2 * time.Minute

// Catalog is an open catalog. Its methods may be called from several goroutines.
type Catalog struct {
	locks    string // directory of the lock files
	readOnly bool
	patience time.Duration
	now      func() time.Time
	fs       disk.FS

	removeRows int64 // that one transaction removes

	owner string                        // of the leases that are acquired here
	here  func() (machine.Place, error) // where this process stands
	boot  func() time.Duration          // by which leases are judged

	*attendance
	writer  *writer
	reads   *reads
	origins originCache

	mu      sync.Mutex
	writers map[capstan.SetID]*EntryWriter // open ones
	leases  map[*Lease]struct{}            // that are kept
	freed   chan struct{}                  // closed and made anew when a lease is released here
}

// Open opens the catalog in the file at path. If there is none it is made, with
// mode 0600. An older schema is migrated, each step in one transaction, after a
// copy of the file was put next to it; a newer one is capstan.ErrRefused. A
// quick look at the file's integrity comes first: a damaged file is
// capstan.ErrDamaged, and is not touched.
//
// The caller closes the catalog. Locks lie in the directory "locks" next to the
// file.
func Open(ctx context.Context, path string, opts Options) (*Catalog, error) {
	return open(ctx, path, opts, sqliteMigrations())
}

func open(ctx context.Context, path string, opts Options, steps migrations) (*Catalog, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("catalog %s: %w", path, err)
	}
	c := &Catalog{
		attendance: &attendance{path: abs, wait: opts.Wait, after: giveUpTime},
		locks:      filepath.Join(filepath.Dir(abs), "locks"), readOnly: opts.ReadOnly,
		patience: opts.Patience, now: opts.Now, removeRows: defaultRemoveRows,
		owner: rand.Text(), here: sync.OnceValues(machine.Here), boot: machine.Boot,
		writers: map[capstan.SetID]*EntryWriter{}, leases: map[*Lease]struct{}{}, freed: make(chan struct{}),
	}
	if c.patience <= 0 {
		c.patience = defaultPatience
	}
	if c.wait == nil {
		c.wait = func(string) func() { return func() {} }
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.readOnly {
		err = c.requireVersion(ctx, steps)
	} else {
		err = c.prepare(ctx, steps)
	}
	if err == nil {
		err = c.connect(ctx)
	}
	if err != nil {
		return nil, errors.Join(c.failed(ctx, "open", err), c.disconnect())
	}
	return c, nil
}

// Path is the absolute path of the catalog's file.
func (c *Catalog) Path() string { return c.path }

// Close ends the use of the catalog. All EntryWriters must be closed and all leases
// released before; a lease that was not is lost, and ends with its time or with the
// process. Close waits for a write that is under way. Where a call was left behind that
// has not come back, the connections stay open until the end of the process: all that was
// recorded is durable. A second Close does nothing.
func (c *Catalog) Close() error {
	kept := c.dropLeases()
	c.mu.Lock()
	open := len(c.writers)
	c.mu.Unlock()
	err := c.disconnect()
	if open > 0 {
		err = errors.Join(err, fmt.Errorf("catalog %s was closed with %d entry writers open", c.path, open))
	}
	if kept > 0 {
		err = errors.Join(err, fmt.Errorf("catalog %s was closed with %d leases held", c.path, kept))
	}
	return err
}

func (c *Catalog) disconnect() error {
	if c.left.Load() > 0 {
		return nil
	}
	var errs []error
	if c.reads != nil {
		errs = append(errs, c.reads.close())
	}
	if c.writer != nil {
		errs = append(errs, c.writer.close())
	}
	return errors.Join(errs...)
}

// failed makes of err what callers get: the cause of a context that ended, an
// error that says what it means, or nil.
func (c *Catalog) failed(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errSilent) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, told := errors.AsType[*capstan.Error](err); told {
		return err
	}
	return c.explain(op, err)
}

// unix gives a time as catalogs store it; the zero time is 0.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromUnix(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
