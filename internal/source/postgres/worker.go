package postgres

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/pgcopy"
	"capstan/internal/progress"
)

// worker is a session in the dump's snapshot, with a lock on each of its tables. The
// locks lie in savepoints, each within those below: going back to a savepoint releases
// its locks, and the snapshot stays.
type worker struct {
	number int
	conn   *pgconn.PgConn // until stream has it
	stream *pgcopy.Session
	stack  []*layer
	frames *frames
	drafts drafts
}

// layer is a savepoint with its table, or with several that are small.
type layer struct {
	savepoint string
	tables    []*table
	shared    bool // with other workers; a table alone
}

// muster connects the workers, puts them into the snapshot, and has each lock its
// tables. A table for whose lock somebody waits by now is left to the guard, who has
// it: who waits for the guard must not be waited for.
func (d *dump) muster(ctx context.Context, h *held) error {
	var tables []*table
	for _, t := range h.tables {
		if t.hasData() && !d.dataless[t.quoted] {
			tables = append(tables, t)
		}
	}
	canShare := func(t *table) bool { return d.server.Major >= tidRangeMajor && t.heap }
	a := assign(tables, d.options.Jobs, canShare)
	isShared := map[*table]bool{}
	for _, t := range a.shared {
		t.guess = "" // its parts are read, when its columns are known
		isShared[t] = true
	}
	waited, err := d.monitor.contested(ctx, tables)
	if err != nil {
		return err
	}
	alone := func(t *table) bool { return isShared[t] || d.options.isFirst(t) }
	group, ctx := errgroup.WithContext(ctx)
	for i := range a.private {
		stack := slices.DeleteFunc(a.stack(i, d.options.isFirst), func(t *table) bool { return waited[t.oid] })
		if len(stack) == 0 {
			continue
		}
		w := &worker{number: i + 1}
		h.workers = append(h.workers, w)
		group.Go(func() error {
			var err error
			if w.frames, err = newFrames(d.options.Codec, d.options.Level); err != nil {
				return err
			}
			if w.conn, err = d.enter(ctx, h); err != nil {
				return err
			}
			if err := w.lock(ctx, layers(stack, alone), d.options.LockTimeout); err != nil {
				return err
			}
			for _, l := range w.stack {
				l.shared = isShared[l.tables[0]]
			}
			w.stream, err = h.crew.take(ctx, w.conn)
			return err
		})
	}
	return group.Wait()
}

// tidRangeMajor is the version since which a condition on ctid reads only its pages
// (Tid Range Scan).
const tidRangeMajor = 14

// lock locks the tables in their order, outermost first, each group in a savepoint of
// its own, and many of them in one round trip. Of a group that cannot be had, each
// table is tried alone.
func (w *worker) lock(ctx context.Context, groups [][]*table, timeout time.Duration) error {
	if err := exec(ctx, w.conn, timeoutStatement(timeout)); err != nil {
		return err
	}
	for number := 0; len(groups) > 0; {
		var sql strings.Builder
		batch, tables := 0, 0
		for ; batch < len(groups) && tables < lockBatch; batch++ {
			names := make([]string, len(groups[batch]))
			for i, t := range groups[batch] {
				names[i] = t.quoted
			}
			fmt.Fprintf(&sql, "SAVEPOINT s%d; %s;\n", number+batch, lockStatement(names...))
			tables += len(names)
		}
		results, err := w.conn.Exec(ctx, sql.String()).ReadAll()
		locked := min(len(results)/2, batch) // what was carried out; the savepoint of the one that failed too
		for i, tables := range groups[:locked] {
			w.stack = append(w.stack, &layer{savepoint: fmt.Sprintf("s%d", number+i), tables: tables})
		}
		number += locked
		groups = groups[locked:]
		switch {
		case err == nil:
		case code(err) == codeLockTimeout || code(err) == codeDeadlock:
			savepoint := fmt.Sprintf("s%d", number)
			if err := exec(ctx, w.conn, "ROLLBACK TO "+savepoint+"; RELEASE "+savepoint); err != nil {
				return err
			}
			failed := groups[0]
			groups = groups[1:]
			if len(failed) > 1 {
				groups = append(slices.Collect(slices.Chunk(failed, 1)), groups...)
			} // else it is left to the guard
		default:
			return failure("lock", groups[0][0].quoted, cause(ctx, err))
		}
	}
	return nil
}

// patient lets a statement wait: indexes may be locked for a while.
const patient = "SET LOCAL lock_timeout = 0; "

// release lets the tables go of a layer that is on top of the stack.
func (l *layer) release() string { return "ROLLBACK TO " + l.savepoint + "; " }

// released notes that the layer is let go with the next statement.
func (d *dump) released(l *layer) {
	for _, t := range l.tables {
		d.receipt.released(t)
	}
}

// work reads the worker's tables from the top of its stack downwards, and releases
// each as soon as it is read: with the next statement. A table is never read again
// after that; its rows may be gone without an error.
func (d *dump) work(ctx context.Context, h *held, w *worker) error {
	stage := d.env.Tracker.Stage(fmt.Sprintf("reader %d", w.number))
	stage.Begin()
	defer stage.End()
	before := ""
	for top := len(w.stack); top > 0; {
		layer := w.stack[top-1]
		if layer.shared {
			if err := d.settle(ctx, stage, h, w); err != nil {
				return err
			}
		}
		var err error
		if s := d.shareOf(h, layer); s != nil {
			err = d.readParts(ctx, stage, w, s, before+patient)
			before = layer.release()
			d.released(layer)
			top--
		} else {
			own := top - 1
			for own > 0 && !w.stack[own-1].shared {
				own--
			}
			before, err = d.readOwn(ctx, h, stage, w, w.stack[own:top], before)
			top = own
		}
		if err != nil {
			return err
		}
	}
	if err := failure("end the reading of", d.database, w.stream.Exec(ctx, "ROLLBACK")); err != nil {
		return err
	}
	return d.settle(ctx, stage, h, w)
}

// shareOf is what is read of a layer together with other workers. All is known then.
func (d *dump) shareOf(h *held, l *layer) *share {
	if !l.shared {
		return nil
	}
	return h.shares[l.tables[0]]
}

// dataEnd is what pg_dump puts after a table's data.
const dataEnd = "\\.\n\n\n"

// readTable reads a table's data, which the session was asked for, into its file.
func (d *dump) readTable(ctx context.Context, stage *progress.Stage, stream *pgcopy.Session, f *frames, c *datum) (err error) {
	stage.Object(c.tag)
	file, err := d.create(c.file, c.tag)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.abandon()
		}
	}()
	f.begin(file.filler(ctx, stage))
	result, err := d.receive(ctx, stage, f, stream.Receive)
	if err != nil {
		return failure("read table", c.tag, err)
	}
	if _, err := f.Write([]byte(dataEnd)); err != nil {
		return err
	}
	if err := f.end(); err != nil {
		return err
	}
	file.finish()
	d.wrote(c, result)
	return nil
}

// readOne asks for a table's data and reads it.
func (d *dump) readOne(ctx context.Context, stage *progress.Stage, stream *pgcopy.Session, f *frames, c *datum, sql string) error {
	if err := stream.Send(ctx, sql); err != nil {
		return failure("read table", c.tag, err)
	}
	return d.readTable(ctx, stage, stream, f, c)
}

// readParts reads parts of a table that is read together with other workers, until
// there are none.
func (d *dump) readParts(ctx context.Context, stage *progress.Stage, w *worker, s *share, before string) error {
	stage.Object(s.datum.tag)
	for p, ok := s.take(); ok; p, ok = s.take() {
		w.frames.begin(func(frame []byte) error {
			// Before it waits for the others at this table: each declares its own wait for room.
			if err := s.spool.grow(ctx, stage, len(frame)); err != nil {
				return err
			}
			return s.write(p, frame)
		})
		err := w.stream.Send(ctx, before+s.statement(p))
		var result pgcopy.Result
		if err == nil {
			result, err = d.receive(ctx, stage, w.frames, w.stream.Receive)
		}
		if err != nil {
			return failure("read table", s.datum.tag, err)
		}
		before = ""
		if s.last(p) {
			if _, err := w.frames.Write([]byte(dataEnd)); err != nil {
				return err
			}
		}
		if s.parts == 1 || len(w.frames.block) > 0 || s.last(p) {
			if err := w.frames.end(); err != nil {
				return err
			}
		}
		whole, err := s.end(p, result)
		if err != nil {
			return err
		}
		if whole {
			s.spool.finish()
			d.wrote(s.datum, s.read)
		}
	}
	if before != "" {
		return w.stream.Exec(ctx, before)
	}
	return nil
}

// receive takes the data of a COPY that a session was asked for, by one of its methods,
// and counts it.
func (d *dump) receive(ctx context.Context, stage *progress.Stage, f *frames, by func(context.Context, io.Writer) (pgcopy.Result, error)) (pgcopy.Result, error) {
	waiting := stage.Wait(progress.ForServer, "")
	counted := &counted{to: f, count: func(n int) {
		if waiting != nil {
			waiting()
			waiting = nil
		}
		stage.Moved(capstan.Bytes(n), 0)
		d.count(0, capstan.Bytes(n), 0)
	}}
	result, err := by(ctx, counted)
	counted.flush()
	if waiting != nil {
		waiting()
	}
	return result, err
}

// counted counts what goes through it, in large steps.
type counted struct {
	to    *frames
	count func(n int)
	since int
}

const countEvery = 1 << 20

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	if c.since += n; c.since >= countEvery {
		c.flush()
	}
	return n, err
}

func (c *counted) flush() {
	if c.since > 0 {
		c.count(c.since)
		c.since = 0
	}
}
