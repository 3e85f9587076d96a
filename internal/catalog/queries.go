package catalog

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// queries is where rows come from: the readers, or a write transaction.
type queries interface {
	query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// reads is the pool of connections that only read.
type reads struct {
	*attendance
	db    *sql.DB
	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

func newReads(db *sql.DB, attended *attendance) *reads {
	return &reads{attendance: attended, db: db, stmts: map[string]*sql.Stmt{}}
}

func (r *reads) close() error {
	r.mu.Lock()
	stmts := r.stmts
	r.stmts = nil
	r.mu.Unlock()
	var errs []error
	for _, stmt := range stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, r.db.Close())...)
}

func (r *reads) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	r.mu.Lock()
	stmt := r.stmts[query]
	r.mu.Unlock()
	if stmt == nil {
		made, err := r.db.PrepareContext(ctx, query)
		if err != nil {
			return nil, err
		}
		r.mu.Lock()
		stmt = r.stmts[query]
		if stmt == nil && r.stmts != nil {
			r.stmts[query], stmt, made = made, made, nil
		}
		r.mu.Unlock()
		if made != nil { // another goroutine was faster, or the catalog is closed
			if err := made.Close(); err != nil || stmt == nil {
				return nil, errors.Join(sql.ErrConnDone, err)
			}
		}
	}
	return stmt.QueryContext(ctx, args...)
}

// one scans the first row of a query into dest; false when there is none.
func one(ctx context.Context, from queries, query string, args []any, dest ...any) (found bool, err error) {
	err = each(ctx, from, query, args, func(rows *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return rows.Scan(dest...)
	})
	return found && err == nil, err
}

// each calls scan for every row of a query. The memory that scan gets belongs to
// the row, unless database/sql copied it. A read that hangs is left behind after the
// end of ctx; scan is not called any more then. Scan may be called by another goroutine
// than the caller's, which waits for it.
func each(ctx context.Context, from queries, query string, args []any, scan func(*sql.Rows) error) error {
	r, reading := from.(*reads)
	if !reading { // the whole transaction is attended
		return eachRow(ctx, from, query, args, scan)
	}
	var gate sync.Mutex
	gone := false
	return r.attend(ctx, func() error {
		return eachRow(ctx, r, query, args, func(rows *sql.Rows) error {
			gate.Lock()
			defer gate.Unlock()
			if gone {
				return errSilent
			}
			return scan(rows)
		})
	}, func() {
		gate.Lock()
		defer gate.Unlock()
		gone = true
	}, nil)
}

func eachRow(ctx context.Context, from queries, query string, args []any, scan func(*sql.Rows) error) (err error) {
	rows, err := from.query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// with is short for a list of arguments.
func with(args ...any) []any { return args }
