package postgres

import (
	"context"

	"capstan/internal/pg"
)

// unpooled refuses a pooler in transaction mode: what pg_restore sets for its session
// would be set for others, and not for its own next statement.
func (r *restore) unpooled(ctx context.Context, conn *pg.Conn, database string) error {
	second, err := pg.ConnectTo(ctx, r.options.URL, database)
	if err != nil {
		return err
	}
	defer second.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	return pg.Unpooled(ctx, conn.PgConn(), second.PgConn())
}
