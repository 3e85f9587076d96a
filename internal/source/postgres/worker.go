package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/pgcopy"
	"capstan/internal/progress"
)

// worker is a session in the dump's snapshot, with a lock on each of its tables. Each
// lock lies in a savepoint of its own within those below: going back to a savepoint
// releases the lock, and the snapshot stays.
type worker struct {
	number int
	conn   *pgconn.PgConn // until stream has it
	stream *pgcopy.Session
	stack  []*layer
	frames *frames
}

// layer is a table with its savepoint.
type layer struct {
	savepoint string
	table     *table
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
	for _, t := range a.shared {
		h.shares[t] = nil // made when its COPY is known
	}
	waited, err := d.monitor.contested(ctx, tables)
	if err != nil {
		return err
	}
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
			return w.lock(ctx, stack, d.options.LockTimeout)
		})
	}
	return group.Wait()
}

// tidRangeMajor is the version since which a condition on ctid reads only its pages
// (Tid Range Scan).
const tidRangeMajor = 14

// lock locks the tables in their order, outermost first, many in one round trip.
func (w *worker) lock(ctx context.Context, tables []*table, timeout time.Duration) error {
	if err := exec(ctx, w.conn, timeoutStatement(timeout)); err != nil {
		return err
	}
	for next := 0; next < len(tables); {
		batch := tables[next:min(next+lockBatch, len(tables))]
		var sql strings.Builder
		for i, t := range batch {
			fmt.Fprintf(&sql, "SAVEPOINT s%d; %s;\n", next+i, lockStatement(t.quoted))
		}
		results, err := w.conn.Exec(ctx, sql.String()).ReadAll()
		locked := min(len(results)/2, len(batch)) // what was carried out; the savepoint of the one that failed too
		for i, t := range batch[:locked] {
			w.stack = append(w.stack, &layer{savepoint: fmt.Sprintf("s%d", next+i), table: t})
		}
		next += locked
		switch {
		case err == nil:
		case code(err) == codeLockTimeout || code(err) == codeDeadlock:
			savepoint := fmt.Sprintf("s%d", next)
			if err := exec(ctx, w.conn, "ROLLBACK TO "+savepoint+"; RELEASE "+savepoint); err != nil {
				return err
			}
			next++ // it is left to the guard
		default:
			return failure("lock", batch[min(locked, len(batch)-1)].quoted, cause(ctx, err))
		}
	}
	return nil
}

// patient lets a statement wait: indexes may be locked for a while.
const patient = "SET LOCAL lock_timeout = 0; "

// release lets a table go that lies on top of the stack.
func (l *layer) release() string { return "ROLLBACK TO " + l.savepoint + "; " }

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
		var err error
		if s := h.shares[layer.table]; s != nil {
			err = d.readParts(ctx, stage, w, s, before+patient)
			before = layer.release()
			d.receipt.released(layer.table)
			top--
		} else {
			own := top - 1
			for own > 0 && h.shares[w.stack[own-1].table] == nil {
				own--
			}
			before, err = d.readOwn(ctx, stage, w, w.stack[own:top], before)
			top = own
		}
		if err != nil {
			return err
		}
	}
	return failure("end the reading of", d.database, w.stream.Exec(ctx, "ROLLBACK"))
}

// request is a statement of a worker, which reads data or not.
type request struct {
	sql    string
	layer  *layer
	datum  *datum // nil: it releases the layer, of which nothing is read
	closes bool   // after it the layer is no longer needed
}

// ahead is how many requests a server has beside the one that is being read: it need
// not wait for us between small tables, and we not for it.
const ahead = 16

// readOwn reads tables that the worker has for itself, the last of the layers first.
// before is carried out first; what it gives releases the last table that was read.
func (d *dump) readOwn(ctx context.Context, stage *progress.Stage, w *worker, layers []*layer, before string) (after string, err error) {
	var requests []request
	for _, layer := range slices.Backward(layers) {
		for i, c := range layer.table.copies {
			requests = append(requests, request{sql: before + patient + c.SQL, layer: layer, datum: c, closes: i == len(layer.table.copies)-1})
			before = ""
		}
		before += layer.release()
		if len(layer.table.copies) == 0 {
			requests = append(requests, request{sql: before, layer: layer, closes: true})
			before = ""
		}
	}
	sent := 0
	for i, r := range requests {
		for ; sent < len(requests) && sent <= i+ahead; sent++ {
			if err := w.stream.Send(ctx, requests[sent].sql); err != nil {
				return "", failure("read table", r.layer.table.quoted, err)
			}
		}
		if r.datum == nil {
			_, err = w.stream.Receive(ctx, nil)
			err = failure("release", r.layer.table.quoted, err)
		} else {
			err = d.readTable(ctx, stage, w.stream, w.frames, r.datum)
		}
		if err != nil {
			return "", err
		}
		if r.closes {
			d.receipt.released(r.layer.table)
		}
	}
	return before, nil
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
	result, err := d.receive(ctx, stage, stream, f)
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
			result, err = d.receive(ctx, stage, w.stream, w.frames)
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

// receive takes the data of the COPY that the session was asked for, and counts it.
func (d *dump) receive(ctx context.Context, stage *progress.Stage, stream *pgcopy.Session, f *frames) (pgcopy.Result, error) {
	waiting := stage.Wait(progress.ForServer, "")
	counted := &counted{to: f, count: func(n int) {
		if waiting != nil {
			waiting()
			waiting = nil
		}
		stage.Moved(capstan.Bytes(n), 0)
		d.count(0, capstan.Bytes(n), 0)
	}}
	result, err := stream.Receive(ctx, counted)
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
