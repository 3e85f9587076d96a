package postgres

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
	"capstan/internal/progress"
	"capstan/internal/rowsum"
)

// largeObject is one of them with its file.
type largeObject struct{ oid, file string }

const (
	largeBatch = 64       // objects that one query begins to read
	largePiece = 64 << 10 // bytes of each
	// largeStep is how much of one object is read at a time after that.
	largeStep = 1 << 20
	// listLimit is more than a list of a hundred million objects takes.
	listLimit = 4 << 30
)

// listLarge reads which large objects the dump has, from the lists that pg_dump wrote:
// lines of an OID and a file's name.
func (d *dump) listLarge(c *contents) ([]largeObject, error) {
	var all []largeObject
	for _, name := range c.large {
		list, err := d.env.Disk.ReadFile(d.directory.path(name), listLimit)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(list)) {
			oid, file, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if _, err := strconv.ParseUint(oid, 10, 32); err != nil || !ok || file != filepath.Base(file) {
				return nil, fmt.Errorf("%s has a line %q", name, line)
			}
			all = append(all, largeObject{oid: oid, file: file})
		}
	}
	return all, nil
}

// readLarge reads the large objects, in a session that is in the snapshot and has no
// lock on a table: nobody who changes tables waits for them.
func (d *dump) readLarge(ctx context.Context, conn *pgconn.PgConn, objects []largeObject) error {
	stage := d.env.Tracker.Stage("large objects")
	stage.Begin()
	defer stage.End()
	f, err := newFrames(d.options.Codec, d.options.Level)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(objects, largeBatch) {
		oids := make([]string, len(batch))
		for i, o := range batch {
			oids[i] = o.oid
		}
		pieces, err := query(ctx, stage, conn, fmt.Sprintf("select lo_get(o::oid, 0, %d) from unnest(array[%s]) with ordinality u(o, nr) order by nr", largePiece, strings.Join(oids, ",")))
		if err != nil {
			return failure("read large objects", oids[0]+" to "+oids[len(oids)-1], err)
		}
		if len(pieces) != len(batch) {
			return fmt.Errorf("%d large objects came instead of %d", len(pieces), len(batch))
		}
		for i, o := range batch {
			if err := d.readObject(ctx, stage, conn, f, o, pieces[i]); err != nil {
				return failure("read large object", o.oid, err)
			}
		}
	}
	return nil
}

// readObject writes one object, of which the beginning was read already.
func (d *dump) readObject(ctx context.Context, stage *progress.Stage, conn *pgconn.PgConn, f *frames, o largeObject, piece []byte) (err error) {
	stage.Object(o.oid)
	if err := d.env.Disk.Remove(d.directory.path(o.file)); err != nil { // it is empty: pg_dump was given nothing
		return err
	}
	file, err := d.create(o.file, "large object "+o.oid)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.abandon()
		}
	}()
	f.begin(file.filler(ctx, stage))
	total, want := int64(0), largePiece
	hash := rowsum.NewLong()
	hash.Piece([]byte(o.oid + "\n"))
	for {
		hash.Piece(piece)
		if _, err := f.Write(piece); err != nil {
			return err
		}
		stage.Moved(capstan.Bytes(len(piece)), 0)
		d.count(0, capstan.Bytes(len(piece)), 0)
		total += int64(len(piece))
		if len(piece) < want {
			break
		}
		want = largeStep
		pieces, err := query(ctx, stage, conn, fmt.Sprintf("select lo_get(%s::oid, %d, %d)", o.oid, total, largeStep))
		if err != nil {
			return err
		}
		piece = pieces[0]
	}
	if err := f.end(); err != nil {
		return err
	}
	file.finish()
	d.count(1, 0, 0)
	var sum rowsum.Sum
	hash.End(&sum)
	d.receipt.large(total, sum)
	return nil
}

// query gives the one column of a query's rows, in binary.
func query(ctx context.Context, stage *progress.Stage, conn *pgconn.PgConn, sql string) ([][]byte, error) {
	defer stage.Wait(progress.ForServer, "")()
	result := conn.ExecParams(ctx, sql, nil, nil, nil, []int16{1}).Read()
	if result.Err != nil {
		return nil, cause(ctx, result.Err)
	}
	values := make([][]byte, len(result.Rows))
	for i, row := range result.Rows {
		values[i] = row[0]
	}
	return values, nil
}
