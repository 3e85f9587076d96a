package pgdrill

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"capstan/internal/pg"
	"capstan/internal/progress"
)

// setval is what pg_dump writes for the value of a sequence.
var setval = regexp.MustCompile(`(?s)setval\('.*', (-?\d+), (true|false)\);\s*$`)

// sequences compares each sequence's value with what the table of contents says.
func (c *comparison) sequences(ctx context.Context, conn *pg.Conn) error {
	defer c.stage.Wait(progress.ForServer, "sequences")()
	for i := range c.dump.Entries {
		e := &c.dump.Entries[i]
		if e.Desc.Value != "SEQUENCE SET" || c.leftOut(e) {
			continue
		}
		name := pgx.Identifier{e.Namespace.Value, e.Tag.Value}.Sanitize()
		object := "sequence " + e.Namespace.Value + "." + e.Tag.Value
		want := setval.FindStringSubmatch(e.Definition.Value)
		if want == nil {
			c.differs(Difference{Object: object, In: inFiles, Err: fmt.Sprintf("the dump sets it in a form that is not known: %q", e.Definition.Value)})
			continue
		}
		var value, called string
		err := conn.QueryRow(ctx, "SELECT last_value::text, is_called::text FROM "+name, pgx.QueryExecModeExec).Scan(&value, &called)
		refused, isRefused := errors.AsType[*pgconn.PgError](err)
		switch {
		case isRefused && !ending(refused):
			c.differs(Difference{Object: object, In: inRestored, Err: refused.Message})
		case err != nil:
			return err
		case value != want[1] || called != want[2]:
			c.differs(Difference{Object: object, In: inRestored, Err: fmt.Sprintf("it is at %s (called: %s), expected %s (%s)", value, called, want[1], want[2])})
		default:
			c.same(func(s *Summary) { s.Sequences++ })
		}
	}
	return nil
}
