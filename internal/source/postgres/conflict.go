package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan"
)

// conflictAdvice is what helps where a standby's replay ended a session.
const conflictAdvice = "dump the standby with --pause-replay; or raise its max_standby_streaming_delay, and for rows that are removed hot_standby_feedback"

// errConflict says that the replay of a standby has ended a session.
var errConflict = errors.New("the standby ended the session, for a conflict with recovery")

// conflicts is how many sessions of the database a standby has ended for the sake of
// its replay. 0 where nobody can tell.
func (d *dump) conflicts(ctx context.Context) string {
	rows, err := d.monitor.texts(ctx, `select coalesce(sum(confl_tablespace + confl_lock + confl_snapshot + confl_bufferpin + confl_deadlock), 0)
		from pg_stat_database_conflicts where datname = current_database()`)
	if err != nil || len(rows) == 0 {
		return "0"
	}
	return rows[0][0]
}

// conflictPatience is how long the count may lag behind (before 15, half a second).
const conflictPatience = 2 * time.Second

// conflicted says of a session of a standby that broke that the replay has ended it, if
// it has: a server that is sending data then closes the connection without a word.
func (d *dump) conflicted(ctx context.Context, err error) error {
	told, is := errors.AsType[*capstan.Error](err)
	if !d.standby || !is || ctx.Err() != nil || code(err) != "" || errors.Is(err, capstan.ErrNoSpace) {
		return err
	}
	for deadline := time.Now().Add(conflictPatience); time.Now().Before(deadline); {
		if d.conflicts(ctx) != d.conflictsBefore {
			named := *told
			named.Err, named.Next = fmt.Errorf("%w: %w", errConflict, told.Err), conflictAdvice
			return &named
		}
		const often = 50 * time.Millisecond
		if sleep(ctx, often) != nil {
			break
		}
	}
	return err
}
