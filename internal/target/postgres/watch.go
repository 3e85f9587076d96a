package postgres

import (
	"context"
	"time"

	"capstan/internal/pg"
)

const watchEvery = time.Second

// watch looks how far the server is with the rows that it is sent, so that one large
// table is seen to move. Servers before 14 do not say; then tables alone count.
func (r *restore) watch(ctx context.Context) {
	conn, err := pg.ConnectTo(ctx, r.options.URL, r.to)
	if err != nil {
		return // nobody is the poorer for it
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var before int64
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		var rows int64
		err := conn.QueryRow(ctx, "SELECT coalesce(sum(tuples_processed), 0)::bigint FROM pg_stat_progress_copy WHERE datname = current_database()").Scan(&rows)
		if err != nil {
			return
		}
		if rows != before {
			before = rows
			r.stage.Moved(0, 1)
		}
	}
}
