package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/progress"
)

const (
	watchEvery = time.Second
	// answerPatience is how long the server may take to say how far it is.
	answerPatience = 10 * time.Second
)

// unstalled runs the restore and tells people when it stands still. It ends it when
// somebody's lock, or a server that does not answer, has been in the way for too long. A
// statement that the server works on is only spoken of: to build an index takes hours.
func (r *restore) unstalled(ctx context.Context) error {
	warned := progress.Limit{Warn: r.options.StallWarn}
	ends := progress.Limit{Warn: r.options.StallWarn, Fail: r.options.StallFail}
	return r.env.Tracker.Guard(ctx, progress.Limits{
		Still: ends, Waits: map[progress.Resource]progress.Limit{progress.ForServer: warned, progress.ForLock: ends, progress.ForNetwork: ends},
	}, func(s *progress.Stall) {
		r.env.Warn("stalled: %v; safe: %s; next: %s", s, stalledSafe, r.advice(s))
	}, func(s *progress.Stall) error {
		return &capstan.Error{Op: "restore", Object: "database " + r.to, Err: s, Safe: stalledSafe, Next: r.advice(s)}
	}, r.run)
}

const stalledSafe = "the dump was not changed, and what was restored before is there"

// advice is what can be done about a restore that stands still.
func (r *restore) advice(s *progress.Stall) string {
	if s.Waiting == progress.ForNetwork {
		return "look at the server and the way to it, then restore again with --clean"
	}
	look := "capstan pg locks"
	if at, err := pg.ParseAddress(r.options.URL); err == nil {
		look += " '" + at.String() + "'"
	}
	if s.Waiting == progress.ForLock {
		return "let go of the lock, or end who has it; see: " + look
	}
	return "wait, or bound it with --timeout; see: " + look
}

// watch looks how far the server is with what it is sent, so that one large table or
// index is seen to move, and whether what it does is held up by a lock. Servers before 14
// do not say how many rows have come; then whole tables count.
func (r *restore) watch(ctx context.Context) {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx)) // nothing was written
		}
	}()
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var before int64
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		done, blocked, err := r.look(ctx, &conn)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if _, refused := errors.AsType[*pgconn.PgError](err); refused {
				return // it answers, and nobody is the poorer for what it does not tell
			}
			r.pulse.wait(progress.ForNetwork, "the server does not answer")
			continue
		case blocked != "":
			r.pulse.wait(progress.ForLock, blocked)
		default:
			r.pulse.wait(progress.ForServer, "pg_restore")
		}
		if done != before {
			before = done
			r.pulse.moved(0, 1)
		}
	}
}

// look asks how much is done, in no unit, and what holds the sessions of pg_restore up.
// It makes the connection if there is none, and gives it up when it fails.
func (r *restore) look(ctx context.Context, conn **pgx.Conn) (done int64, blocked string, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	if *conn == nil {
		if *conn, err = pg.ConnectTo(ctx, r.options.URL, r.to); err != nil {
			*conn = nil
			return 0, "", err
		}
	}
	defer func() {
		if err != nil {
			_ = (*conn).Close(ctx) // it is given up
			*conn = nil
		}
	}()
	if err := (*conn).QueryRow(ctx, doneQuery(r.version)).Scan(&done); err != nil {
		return 0, "", err
	}
	rows, err := (*conn).Query(ctx, blockedQuery, r.application)
	if err != nil {
		return 0, "", err
	}
	waits, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, "", err
	}
	return done, output.Clean(strings.Join(waits, "; ")), nil
}

// copyProgressMajor is the version since which a server says how far a COPY is.
const copyProgressMajor = 14

func doneQuery(version pg.Version) string {
	query := "SELECT (SELECT coalesce(sum(blocks_done + tuples_done + phase_no), 0) FROM (SELECT blocks_done, tuples_done, hashtext(phase)::bigint AS phase_no FROM pg_stat_progress_create_index WHERE datname = current_database()) i)"
	if version.Major >= copyProgressMajor {
		query += " + (SELECT coalesce(sum(tuples_processed), 0) FROM pg_stat_progress_copy WHERE datname = current_database())"
	}
	return "SELECT (" + query + ")::bigint"
}

// blockedQuery names what the sessions of an application wait for, and behind whom.
// pg_locks.waitstart is there since 14, and read through JSON. The same wait has the same
// text at each look.
const blockedQuery = `
	SELECT concat(
		CASE WHEN l.relation IS NOT NULL THEN 'table or index ' || coalesce((SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = l.relation), l.relation::text) ELSE l.locktype END,
		', since ', to_char(coalesce((to_jsonb(l) ->> 'waitstart')::timestamptz, a.query_start), 'HH24:MI:SS'),
		', behind ', coalesce((SELECT string_agg(concat('session ', b.pid, ' (', concat_ws(', ', nullif(b.application_name, ''), 'role ' || b.usename), ')'), ', ' ORDER BY b.pid)
			FROM pg_stat_activity b WHERE b.pid = ANY (pg_blocking_pids(l.pid))), 'a prepared transaction'))
	FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	WHERE NOT l.granted AND a.datname = current_database() AND a.application_name = $1
	ORDER BY l.pid`
