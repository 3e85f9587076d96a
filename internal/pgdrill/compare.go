package pgdrill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgcopy"
	"capstan/internal/progress"
)

// comparison is the reading of a restored database, in one snapshot.
type comparison struct {
	*drill
	url, snapshot string
	stage         *progress.Stage

	mu    sync.Mutex
	queue []*expected // not yet read, the largest last
}

// compare reads what was restored and compares it with what is expected.
func (d *drill) compare(ctx context.Context, p *place) error {
	d.env.Step(ctx, "compare", p.url)
	c := &comparison{drill: d, url: p.url, stage: d.env.Tracker.Stage("compare")}
	c.stage.Begin()
	defer c.stage.End()
	unread := d.unread()
	for _, t := range d.tables {
		if !unread[stem(t.File)] {
			c.queue = append(c.queue, t)
		}
	}
	slices.SortStableFunc(c.queue, func(a, b *expected) int { return cmp.Compare(a.Size, b.Size) })
	leader, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer leader.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	if err := c.sequences(ctx, leader); err != nil {
		return err
	}
	if !p.plain {
		if err := c.owners(ctx, leader); err != nil {
			return err
		}
	}
	if err := exec(ctx, leader, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return err
	}
	if err := leader.QueryRow(ctx, "SELECT pg_catalog.pg_export_snapshot()", pgx.QueryExecModeExec).Scan(&c.snapshot); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for range min(d.options.Jobs, len(c.queue)) {
		group.Go(func() error { return c.work(ctx) })
	}
	group.Go(func() error { return c.largeObjects(ctx, leader) })
	return group.Wait()
}

// take gives a table that nobody has.
func (c *comparison) take() *expected {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil
	}
	t := c.queue[len(c.queue)-1]
	c.queue = c.queue[:len(c.queue)-1]
	return t
}

// work reads tables in a session until there are none.
func (c *comparison) work(ctx context.Context) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	stream, err := pgcopy.Take(ctx, conn.PgConn())
	if err != nil {
		return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	defer stream.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	for t := c.take(); t != nil; t = c.take() {
		if err := c.table(ctx, stream, t); err != nil {
			return err
		}
	}
	return nil
}

// table counts and hashes one table.
func (c *comparison) table(ctx context.Context, stream *pgcopy.Session, t *expected) error {
	c.stage.Object(t.String())
	sql := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '" + c.snapshot + "'; " + t.statement
	waiting := c.stage.Wait(progress.ForServer, "")
	result, err := stream.Copy(ctx, sql, pieces(func(p []byte) {
		if waiting != nil {
			waiting()
			waiting = nil
		}
		c.stage.Moved(capstan.Bytes(len(p)), 0)
	}))
	if waiting != nil {
		waiting()
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && ctx.Err() == nil && !ending(refused) {
		c.differs(Difference{Object: t.object(), In: inRestored, Expected: &t.rows, Err: refused.Message})
		return stream.Exec(ctx, "ROLLBACK")
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", t.object(), err)
	}
	if result.Rows != t.rows || t.hash != nil && result.Sum != *t.hash {
		difference := Difference{Object: t.object(), In: inRestored, Expected: &t.rows, Got: &result.Rows, ExpectedHash: t.hash}
		if t.hash != nil {
			difference.GotHash = &result.Sum
		}
		c.differs(difference)
	} else {
		c.same(func(s *Summary) {
			s.Tables++
			s.Rows += result.Rows
			s.Bytes += capstan.Bytes(result.Bytes)
		})
	}
	return stream.Exec(ctx, "ROLLBACK")
}

// ending reports whether an error is about the server's or the session's end, and not
// about a table (class 57, https://www.postgresql.org/docs/current/errcodes-appendix.html).
func ending(err *pgconn.PgError) bool { return len(err.Code) == 5 && err.Code[:2] == "57" }

// connect makes a session that prints values as the session of the dump did.
func (c *comparison) connect(ctx context.Context) (*pg.Conn, error) {
	conn, err := pg.Connect(ctx, c.url)
	if err != nil {
		return nil, err
	}
	if err := c.prepare(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	return conn, nil
}

// settings are those that pg_dump makes.
const settings = `SELECT pg_catalog.set_config('search_path', '', false);
SET datestyle = ISO; SET intervalstyle = postgres; SET extra_float_digits = 3; SET synchronize_seqscans = off; SET row_security = off;
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')`

func (c *comparison) prepare(ctx context.Context, conn *pg.Conn) error {
	if err := exec(ctx, conn, settings); err != nil {
		return err
	}
	for i := range c.dump.Entries {
		if e := &c.dump.Entries[i]; e.Desc.Value == "ENCODING" {
			if err := exec(ctx, conn, e.Definition.Value); err != nil {
				return err
			}
		}
	}
	if c.receipt == nil {
		return nil
	}
	for name, value := range c.receipt.Session {
		if _, err := conn.Exec(ctx, "SELECT pg_catalog.set_config($1, $2, false)", pgx.QueryExecModeExec, name, value); err != nil {
			if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || ending(refused) {
				return err
			}
			c.env.Warn("the server does not take %s = %s, as the source had it: values may be printed otherwise: %v", name, value, err)
		}
	}
	return nil
}

// exec carries statements out.
func exec(ctx context.Context, conn *pg.Conn, sql string) error {
	_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}
