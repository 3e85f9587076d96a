package pgslot

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Querier is a connection to the server that runs on the data directory.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Statistics are the counters of one slot in pg_stat_replication_slots, since they
// were reset or the server came up without them.
type Statistics struct {
	Transactions int64 `json:"spill_txns"` // subtransactions counted too
	Times        int64 `json:"spill_count"`
	Bytes        int64 `json:"spill_bytes"`
	Streamed     int64 `json:"stream_txns"`
}

// ErrNoStatistics reports a server that does not count spills: it is older than 14.
var ErrNoStatistics = errors.New("servers before 14 do not count spills")

// Spills reads the counters of all slots, by name.
func (p *Place) Spills(ctx context.Context, db Querier) (map[string]Statistics, error) {
	if p.Major < 14 {
		return nil, ErrNoStatistics
	}
	rows, err := db.Query(ctx, "SELECT slot_name, spill_txns, spill_count, spill_bytes, stream_txns FROM pg_catalog.pg_stat_replication_slots")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]Statistics{}
	for rows.Next() {
		var name string
		var s Statistics
		if err := rows.Scan(&name, &s.Transactions, &s.Times, &s.Bytes, &s.Streamed); err != nil {
			return nil, err
		}
		all[name] = s
	}
	return all, rows.Err()
}

// Rate is how fast the counters moved between two looks; nil if they were reset in
// between.
func (s Statistics) Rate(later Statistics, elapsed time.Duration) *Rate {
	if later.Bytes < s.Bytes || later.Transactions < s.Transactions || later.Times < s.Times || elapsed <= 0 {
		return nil
	}
	per := func(n int64) float64 { return float64(n) / elapsed.Seconds() }
	return &Rate{
		Seconds: elapsed.Seconds(), Transactions: per(later.Transactions - s.Transactions), Times: per(later.Times - s.Times),
		Bytes: per(later.Bytes - s.Bytes),
	}
}

// Setting is the value of a setting of the server, as SHOW prints it.
func Setting(ctx context.Context, db Querier, name string) (string, error) {
	rows, err := db.Query(ctx, "SELECT pg_catalog.current_setting($1)", name)
	if err != nil {
		return "", err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
}
