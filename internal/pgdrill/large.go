package pgdrill

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/progress"
	"capstan/internal/rowsum"
)

// largeExpected is what is expected of the large objects.
type largeExpected struct {
	count int64
	hash  *rowsum.Sum // nil where there is no receipt
}

const (
	largeBatch = 64       // objects that one query begins to read
	largePiece = 64 << 10 // bytes of each
	largeStep  = 1 << 20  // bytes of one object that are read at a time after that
)

// largeObjects counts and hashes the large objects, in conn's snapshot.
func (c *comparison) largeObjects(ctx context.Context, conn *pg.Conn) error {
	oids, err := column(ctx, c.stage, conn, "SELECT oid::text FROM pg_catalog.pg_largeobject_metadata ORDER BY oid")
	if err != nil {
		return err
	}
	var sum rowsum.Sum
	if c.large.hash != nil {
		long := rowsum.NewLong()
		for batch := range slices.Chunk(oids, largeBatch) {
			numbers := make([]string, len(batch))
			for i := range batch {
				numbers[i] = string(batch[i])
			}
			c.stage.Object("large object " + numbers[0])
			pieces, err := column(ctx, c.stage, conn, fmt.Sprintf(
				"SELECT pg_catalog.lo_get(o::oid, 0, %d) FROM pg_catalog.unnest(array[%s]) WITH ORDINALITY u(o, nr) ORDER BY nr", largePiece, strings.Join(numbers, ",")))
			if err != nil {
				return err
			}
			for i, piece := range pieces {
				if err := c.largeObject(ctx, conn, long, numbers[i], piece); err != nil {
					return err
				}
				long.End(&sum)
			}
		}
	}
	got := int64(len(oids))
	if got != c.large.count || c.large.hash != nil && sum != *c.large.hash {
		difference := Difference{Object: largeObjects, In: inRestored, Expected: &c.large.count, Got: &got, ExpectedHash: c.large.hash}
		if c.large.hash != nil {
			difference.GotHash = &sum
		}
		c.differs(difference)
		return nil
	}
	c.same(func(s *Summary) { s.Large = got })
	return nil
}

// largeObject hashes one object, of which the beginning was read already.
func (c *comparison) largeObject(ctx context.Context, conn *pg.Conn, long *rowsum.Long, oid string, piece []byte) error {
	long.Piece([]byte(oid + "\n"))
	for total, want := 0, largePiece; ; want = largeStep {
		long.Piece(piece)
		c.stage.Moved(capstan.Bytes(len(piece)), 0)
		total += len(piece)
		if len(piece) < want {
			return nil
		}
		next, err := column(ctx, c.stage, conn, fmt.Sprintf("SELECT pg_catalog.lo_get(%s::oid, %d, %d)", oid, total, largeStep))
		if err != nil {
			return err
		}
		piece = next[0]
	}
}

// column gives the one column of a query, in binary.
func column(ctx context.Context, stage *progress.Stage, conn *pg.Conn, sql string) ([][]byte, error) {
	defer stage.Wait(progress.ForServer, "")()
	result := conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, []int16{pgx.BinaryFormatCode}).Read()
	values := make([][]byte, len(result.Rows))
	for i, row := range result.Rows {
		values[i] = row[0]
	}
	return values, result.Err
}
