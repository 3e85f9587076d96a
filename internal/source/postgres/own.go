package postgres

import (
	"context"
	"slices"
	"strings"

	"capstan/internal/pgcopy"
	"capstan/internal/progress"
)

// request is one message of a worker: the statements that read the tables of a layer.
type request struct {
	sql   string
	layer *layer
	reads []reading // in their order; empty: it only releases the layer
}

// reading is one COPY of a request.
type reading struct {
	table *table
	datum *datum // nil: it was guessed
}

const (
	// ahead is how many requests a server has beside the one that is being read: it need
	// not wait for us between small tables, and we not for it.
	ahead = 16
	// aheadBytes is how long they are together. What is longer waits until nothing else is
	// under way: a server that waits for us to take its data takes no more statements than
	// the connection's buffers hold.
	aheadBytes = 8 << 10
	// earlyTable is how large a table may be that is read before pg_dump has said how.
	earlyTable = 256 << 10
)

// readOwn reads tables that the worker has for itself, the last of the layers first.
// before is carried out first; what it gives releases the last that was read.
func (d *dump) readOwn(ctx context.Context, h *held, stage *progress.Stage, w *worker, layers []*layer, before string) (after string, err error) {
	var sent []*request
	bytes := 0
	for next := len(layers) - 1; next >= 0 || len(sent) > 0; {
		for next >= 0 && len(sent) <= ahead {
			if !h.isKnown() && !isEarly(layers[next]) {
				if len(sent) > 0 {
					break // first what is under way
				}
				if err := d.settle(ctx, stage, h, w); err != nil {
					return "", err
				}
			}
			r := request{layer: layers[next], reads: readings(layers[next], h.isKnown())}
			r.sql = r.statements(before)
			if len(sent) > 0 && bytes+len(r.sql) > aheadBytes {
				break
			}
			if err := w.stream.Send(ctx, r.sql); err != nil {
				return "", failure("read table", r.layer.tables[0].quoted, err)
			}
			sent, bytes, next = append(sent, &r), bytes+len(r.sql), next-1
			if before = r.layer.release(); len(r.reads) == 0 {
				before = ""
			}
		}
		if err := d.receiveAll(ctx, h, stage, w, sent[0]); err != nil {
			return "", err
		}
		d.released(sent[0].layer)
		bytes -= len(sent[0].sql)
		sent = sent[1:]
	}
	return before, nil
}

// isEarly reports whether a layer can be read before pg_dump has said how.
func isEarly(l *layer) bool {
	return !slices.ContainsFunc(l.tables, func(t *table) bool { return t.guess == "" || t.bytes > earlyTable })
}

// readings are the COPYs of a layer.
func readings(l *layer, known bool) []reading {
	all := make([]reading, 0, len(l.tables))
	for _, t := range l.tables {
		switch {
		case !known:
			all = append(all, reading{table: t})
		case !t.missed:
			for _, c := range t.copies {
				all = append(all, reading{table: t, datum: c})
			}
		}
	}
	return all
}

// statements are those of the request, after others.
func (r *request) statements(before string) string {
	if len(r.reads) == 0 {
		return before + r.layer.release()
	}
	var sql strings.Builder
	sql.WriteString(before + patient)
	for i, read := range r.reads {
		if i > 0 {
			sql.WriteString("; ")
		}
		if read.datum == nil {
			sql.WriteString(read.table.guess)
		} else {
			sql.WriteString(read.datum.SQL)
		}
	}
	return sql.String()
}

// receiveAll receives what a request has asked for.
func (d *dump) receiveAll(ctx context.Context, h *held, stage *progress.Stage, w *worker, r *request) error {
	for _, read := range r.reads {
		if w.drafts.bytes > 0 && h.isKnown() {
			if err := d.settle(ctx, stage, h, w); err != nil {
				return err
			}
		}
		if err := d.draft(ctx, h, stage, w, read); err != nil {
			return err
		}
	}
	_, err := w.stream.Receive(ctx, nil)
	return failure("release", r.layer.tables[0].quoted, err)
}

// draft receives the data of one table and puts it where it belongs.
func (d *dump) draft(ctx context.Context, h *held, stage *progress.Stage, w *worker, read reading) (err error) {
	stage.Object(read.table.quoted)
	one := &draft{table: read.table, datum: read.datum}
	if h.isKnown() {
		if err := one.begin(ctx, stage, d); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil && one.file != nil {
			one.file.abandon()
		}
	}()
	w.frames.begin(func(frame []byte) error {
		if !one.opened && w.drafts.bytes+len(frame) > draftBytes {
			if err := d.settle(ctx, stage, h, w); err != nil {
				return err
			}
			if err := one.begin(ctx, stage, d); err != nil {
				return err
			}
		}
		if !one.opened {
			w.drafts.bytes += len(frame)
			one.content = append(one.content, frame...)
			return nil
		}
		return one.write(ctx, stage, frame)
	})
	one.result, err = d.receive(ctx, stage, w.frames, w.stream.Next)
	if err != nil {
		return failure("read table", read.table.quoted, err)
	}
	if _, err := w.frames.Write([]byte(dataEnd)); err != nil {
		return err
	}
	if err := w.frames.end(); err != nil {
		return err
	}
	if one.opened {
		one.finish(d)
		return nil
	}
	w.drafts.all = append(w.drafts.all, one)
	return nil
}

// draftBytes is how much each worker keeps of what it has read while pg_dump has not yet
// said into which files it belongs.
const draftBytes = 4 << 20

// drafts are tables that are read and belong into files that are not known yet.
type drafts struct {
	all   []*draft
	bytes int
}

// draft is the data of a table on its way to its file.
type draft struct {
	table   *table
	datum   *datum
	result  pgcopy.Result
	content []byte // compressed, before it is opened

	opened bool
	file   *spool // nil: the table is not read so, and what was read is dropped
}

// begin opens the file that the data belongs into, when all is known, and writes what
// was read before.
func (r *draft) begin(ctx context.Context, stage *progress.Stage, d *dump) (err error) {
	r.opened = true
	if r.datum == nil && !r.table.missed {
		r.datum = r.table.copies[0]
	}
	if r.datum == nil {
		return nil
	}
	if r.file, err = d.create(r.datum.file, r.datum.tag); err != nil {
		return err
	}
	content := r.content
	r.content = nil
	if len(content) == 0 {
		return nil
	}
	return r.write(ctx, stage, content)
}

func (r *draft) write(ctx context.Context, stage *progress.Stage, frame []byte) error {
	if r.file == nil {
		return nil
	}
	return r.file.filler(ctx, stage)(frame)
}

func (r *draft) finish(d *dump) {
	if r.file != nil {
		r.file.finish()
		d.wrote(r.datum, r.result)
	}
}

// settle waits until it is known which files there are, and writes those that were read
// before.
func (d *dump) settle(ctx context.Context, stage *progress.Stage, h *held, w *worker) error {
	if !h.isKnown() {
		done := stage.Wait(progress.ForServer, "pg_dump")
		defer done()
		select {
		case <-h.known:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		done()
	}
	all := w.drafts.all
	w.drafts = drafts{}
	for _, one := range all {
		if err := one.begin(ctx, stage, d); err != nil {
			if one.file != nil {
				one.file.abandon()
			}
			return err
		}
		one.finish(d)
	}
	return nil
}
