package pgdrill

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/pgdump"
	"capstan/internal/progress"
	"capstan/internal/rowsum"
)

// files reads every data file and compares its rows with the receipt: damage is found
// by name, in all files, before a server is made.
func (d *drill) files(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(d.options.Jobs)
	stage := d.env.Tracker.Stage("files")
	stage.Begin()
	defer stage.End()
	for _, t := range d.tables {
		group.Go(func() error { return d.file(ctx, stage, t) })
	}
	group.Go(func() error { return d.largeFiles(ctx, stage) })
	return group.Wait()
}

func (d *drill) file(ctx context.Context, stage *progress.Stage, t *expected) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	stage.Object(t.String())
	in, err := d.dump.Rows(t.Table)
	var hash rowsum.Sum
	var rows int64
	if err == nil {
		hash, rows, err = rowsum.Text(watched(ctx, stage, in))
		err = errors.Join(err, in.Close())
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, capstan.ErrDamaged):
		d.differs(Difference{Object: t.object(), In: inFiles, Expected: number(t.rows, t.hash != nil), Got: &rows, Err: err.Error()})
	case err != nil:
		return err
	case t.hash == nil:
		t.rows = rows
	case rows != t.rows || hash != *t.hash:
		d.differs(Difference{Object: t.object(), In: inFiles, Expected: &t.rows, Got: &rows, ExpectedHash: t.hash, GotHash: &hash})
	}
	return nil
}

func number(n int64, known bool) *int64 {
	if !known {
		return nil
	}
	return &n
}

// largeFiles does the same for large objects.
func (d *drill) largeFiles(ctx context.Context, stage *progress.Stage) error {
	objects, err := d.dump.Large()
	if errors.Is(err, capstan.ErrDamaged) {
		d.differs(Difference{Object: largeObjects, In: inFiles, Err: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	var sum rowsum.Sum
	long := rowsum.NewLong()
	for _, o := range objects {
		if err := d.largeFile(ctx, stage, o, long); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !errors.Is(err, capstan.ErrDamaged) {
				return err
			}
			d.differs(Difference{Object: "large object " + o.OID, In: inFiles, Err: err.Error()})
		}
		long.End(&sum)
	}
	d.large = largeExpected{count: int64(len(objects))}
	if d.receipt != nil {
		count, got := d.receipt.Large.Count, int64(len(objects))
		d.large = largeExpected{count: count, hash: &d.receipt.Large.Hash}
		if count != got || sum != d.receipt.Large.Hash {
			d.differs(Difference{Object: largeObjects, In: inFiles, Expected: &count, Got: &got, ExpectedHash: d.large.hash, GotHash: &sum})
		}
	}
	return nil
}

func (d *drill) largeFile(ctx context.Context, stage *progress.Stage, o pgdump.LargeObject, long *rowsum.Long) error {
	in, err := d.dump.Content(o)
	if err != nil {
		return err
	}
	long.Piece([]byte(o.OID + "\n"))
	_, err = io.Copy(pieces(long.Piece), watched(ctx, stage, in))
	return errors.Join(err, in.Close())
}

const largeObjects = "large objects"

// pieces makes a writer of a function.
type pieces func([]byte)

func (f pieces) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// watched reads for a stage, and ends with ctx.
func watched(ctx context.Context, stage *progress.Stage, r io.Reader) io.Reader {
	return reads(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		n, err := r.Read(p)
		stage.Moved(capstan.Bytes(n), 0)
		return n, err
	})
}

type reads func(p []byte) (int, error)

func (f reads) Read(p []byte) (int, error) { return f(p) }
