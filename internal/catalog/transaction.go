package catalog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"capstan"
)

// writer is the one connection that writes. Whoever holds the turn uses it.
type writer struct {
	db      *sql.DB
	turn    chan struct{} // holds one token while nobody writes
	closed  chan struct{} // closed by close
	lost    chan struct{} // closed when a write was left behind that hangs
	conn    *sql.Conn     // nil until the first write, and after one that broke it
	stmts   map[string]*sql.Stmt
	raw     map[string]driver.Stmt // of the hot path, prepared on the driver's own connection
	closing sync.Once
	losing  sync.Once
	waiting atomic.Bool // for the writers of other processes
}

func newWriter(db *sql.DB) *writer {
	w := &writer{db: db, turn: make(chan struct{}, 1), closed: make(chan struct{}), lost: make(chan struct{})}
	w.turn <- struct{}{}
	return w
}

// close waits for the write that is under way.
func (w *writer) close() (err error) {
	w.closing.Do(func() {
		close(w.closed)
		<-w.turn // never given back
		err = errors.Join(w.release(), w.db.Close())
	})
	return err
}

// release closes the connection and all that was prepared on it.
func (w *writer) release() error {
	if w.conn == nil {
		return nil
	}
	var errs []error
	for _, stmt := range w.stmts {
		errs = append(errs, stmt.Close())
	}
	errs = append(errs, w.conn.Raw(func(any) error {
		for _, stmt := range w.raw {
			errs = append(errs, stmt.Close())
		}
		return nil
	}))
	errs = append(errs, w.conn.Close())
	w.conn, w.stmts, w.raw = nil, nil, nil
	return errors.Join(errs...)
}

// tx is one write transaction. It is used by the goroutine that runs it.
type tx struct {
	ctx context.Context //nolint:containedctx // scoped to the transaction
	w   *writer
}

// giveUp ends all writing: after a write that was left behind, it is not known whether
// that one is carried out one day.
func (w *writer) giveUp() { w.losing.Do(func() { close(w.lost) }) }

// write runs fn in one transaction: all of it, or nothing. It waits for its turn
// among the goroutines of this process and then for other processes. One that hangs
// is left behind after the end of ctx, and with it the catalog is given up: nothing more
// is written, so that what may yet be committed of that transaction is the last.
func (c *Catalog) write(ctx context.Context, op string, fn func(*tx) error) error {
	return c.failed(ctx, op, c.transact(ctx, fn))
}

func (c *Catalog) transact(ctx context.Context, fn func(*tx) error) error {
	if c.readOnly {
		return c.refuseWrite()
	}
	if err := c.takeTurn(ctx); err != nil {
		return err
	}
	return c.attend(ctx, func() error {
		defer func() { c.writer.turn <- struct{}{} }()
		return c.transaction(ctx, fn)
	}, c.writer.giveUp, c.writer.waiting.Load)
}

// transaction is transact with the turn.
func (c *Catalog) transaction(ctx context.Context, fn func(*tx) error) error {
	w := c.writer
	if err := w.connect(ctx); err != nil {
		return err
	}
	// The outcome of COMMIT and ROLLBACK must be known, so they are not interrupted.
	finish := context.WithoutCancel(ctx)
	if err := c.begin(ctx); err != nil {
		// A BEGIN that was interrupted may have begun all the same; where it did not,
		// there is nothing to roll back, which is no failure.
		_, _ = w.conn.ExecContext(finish, "ROLLBACK")
		return err
	}
	err := fn(&tx{ctx: ctx, w: w})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		if _, err = w.conn.ExecContext(finish, "COMMIT"); err == nil {
			return nil
		}
	}
	if _, rollback := w.conn.ExecContext(finish, "ROLLBACK"); rollback != nil {
		// SQLite rolled back by itself (a full disk), or the connection is broken:
		// a new one starts clean, and closing this one undoes whatever is left.
		_ = w.release()
	}
	return err
}

var errClosed = errors.New("the catalog is closed")

func (c *Catalog) takeTurn(ctx context.Context) error {
	select {
	case <-c.writer.closed:
		return errClosed
	case <-c.writer.lost:
		return c.givenUp()
	case <-c.writer.turn:
		return c.stillWrites()
	default:
	}
	defer c.wait("catalog")()
	select {
	case <-c.writer.turn:
		return c.stillWrites()
	case <-c.writer.closed:
		return errClosed
	case <-c.writer.lost:
		return c.givenUp()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stillWrites gives the turn back if the catalog was given up before it came.
func (c *Catalog) stillWrites() error {
	select {
	case <-c.writer.lost:
		c.writer.turn <- struct{}{}
		return c.givenUp()
	default:
		return nil
	}
}

// givenUp is what every write ends with after one that was left behind.
func (c *Catalog) givenUp() error {
	return &capstan.Error{
		Op: "write to catalog", Object: c.path, Err: fmt.Errorf("it was given up: %w", errSilent),
		Safe: safeCommitted, Next: "look at the disk that it is on",
	}
}

func (w *writer) connect(ctx context.Context) error {
	if w.conn != nil {
		return nil
	}
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return err
	}
	w.conn, w.stmts, w.raw = conn, map[string]*sql.Stmt{}, map[string]driver.Stmt{}
	return nil
}

// begin starts the transaction, waiting for the writers of other processes. Each
// try waits for busyTimeout by itself.
func (c *Catalog) begin(ctx context.Context) error {
	_, err := c.writer.conn.ExecContext(ctx, beginWrite)
	if !isBusy(err) {
		return err
	}
	defer c.wait("catalog")()
	c.writer.waiting.Store(true)
	defer c.writer.waiting.Store(false)
	for since := time.Now(); time.Since(since) < c.patience; {
		if _, err = c.writer.conn.ExecContext(ctx, beginWrite); !isBusy(err) {
			return err
		}
	}
	return &capstan.Error{
		Op: "write to catalog", Object: c.path,
		Err:  fmt.Errorf("another process has kept it for %s: %w", c.patience, err),
		Safe: "nothing of this step was recorded", Next: "see which capstan processes run",
	}
}

// exec runs a statement that gives no rows, and tells how many it touched.
func (t *tx) exec(query string, args ...any) (int64, error) {
	stmt, err := t.prepared(t.ctx, query) //nolint:sqlclosecheck // kept for the next time; release closes it
	if err != nil {
		return 0, err
	}
	result, err := stmt.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (t *tx) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := t.prepared(ctx, query) //nolint:sqlclosecheck // kept for the next time; release closes it
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (t *tx) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := t.w.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := t.w.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	t.w.stmts[query] = stmt
	return stmt, nil
}

// one reads the first row of a query within the transaction.
func (t *tx) one(query string, args []any, dest ...any) (bool, error) {
	return one(t.ctx, t, query, args, dest...)
}

// bulk runs a statement on the driver's connection, past database/sql, whose
// handling of a thousand arguments costs as much as the insert itself. It is not
// interrupted: the caller looks at the context between two calls.
func (t *tx) bulk(query string, args []driver.NamedValue) error {
	ctx := context.WithoutCancel(t.ctx) // the driver starts a goroutine for each call that may be cancelled
	return t.w.conn.Raw(func(dc any) error {
		stmt, ok := t.w.raw[query]
		if !ok {
			conn, ok := dc.(driver.ConnPrepareContext)
			if !ok {
				return fmt.Errorf("driver connection %T cannot prepare", dc)
			}
			var err error
			if stmt, err = conn.PrepareContext(ctx, query); err != nil {
				return err
			}
			t.w.raw[query] = stmt
		}
		exec, ok := stmt.(driver.StmtExecContext)
		if !ok {
			return fmt.Errorf("driver statement %T cannot execute", stmt)
		}
		_, err := exec.ExecContext(ctx, args)
		return err
	})
}
