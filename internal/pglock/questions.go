package pglock

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// oneTrip carries a question out without a prepared statement, which a pooler may look
// for at another server.
const oneTrip = pgx.QueryExecModeExec

// sessionsOf are the sessions of the server by PID.
func sessionsOf(ctx context.Context, conn *pgx.Conn) (map[int]Session, error) {
	rows, err := conn.Query(ctx, `
		SELECT pid, coalesce(datname::text, ''), coalesce(usename::text, ''), coalesce(application_name, ''), coalesce(host(client_addr), 'local'),
			coalesce(state, ''), coalesce(query, ''),
			coalesce(extract(epoch FROM clock_timestamp() - xact_start), 0)::float8,
			coalesce(extract(epoch FROM clock_timestamp() - CASE WHEN state LIKE 'idle%' THEN state_change ELSE query_start END), 0)::float8
		FROM pg_stat_activity`, oneTrip)
	if err != nil {
		return nil, err
	}
	sessions := map[int]Session{}
	var s Session
	_, err = pgx.ForEachRow(rows, []any{&s.PID, &s.Database, &s.Role, &s.Application, &s.Client, &s.State, &s.Query, &s.XactSecs, &s.QuerySecs}, func() error {
		sessions[s.PID] = s
		return nil
	})
	return sessions, err
}

// lock is a row of pg_locks: one that is waited for, or one of a session that
// another one waits behind.
type lock struct {
	pid     int // 0: a prepared transaction
	of      lockedObject
	object  string
	mode    string
	granted bool
	seconds float64 // waited for; negative: the server does not say
	behind  []int32
}

// locksOf are the locks that are waited for, and those of the sessions in the way.
// pg_locks.waitstart is there since 14; it is read through JSON so that one
// statement serves all.
func locksOf(ctx context.Context, conn *pgx.Conn) ([]lock, error) {
	rows, err := conn.Query(ctx, `
		WITH seen AS MATERIALIZED (
			SELECT locktype, database, relation, page, tuple, virtualxid, transactionid, classid, objid, objsubid, pid, mode, granted,
				(to_jsonb(l) ->> 'waitstart')::timestamptz AS began
			FROM pg_locks l),
		waiting AS MATERIALIZED (SELECT *, pg_blocking_pids(pid) AS behind FROM seen WHERE NOT granted),
		shown AS (
			SELECT *, '{}'::int[] AS behind FROM seen WHERE granted AND coalesce(pid, 0) IN (SELECT unnest(behind) FROM waiting)
			UNION ALL SELECT * FROM waiting)
		SELECT coalesce(s.pid, 0), s.locktype,
			concat_ws(':', s.database, s.relation, s.page, s.tuple, s.virtualxid, s.transactionid, s.classid, s.objid, s.objsubid),
			CASE
				WHEN s.relation IS NOT NULL THEN coalesce(quote_ident(n.nspname) || '.' || quote_ident(c.relname),
					'relation ' || s.relation || coalesce(' of ' || quote_ident(d.datname), ''))
					|| CASE WHEN s.locktype = 'relation' THEN '' ELSE ' (' || s.locktype || ')' END
				WHEN s.transactionid IS NOT NULL THEN 'transaction ' || s.transactionid
				WHEN s.virtualxid IS NOT NULL THEN 'transaction ' || s.virtualxid
				ELSE concat_ws(' ', s.locktype, s.classid, s.objid) END,
			s.mode, s.granted, coalesce(extract(epoch FROM clock_timestamp() - s.began), -1)::float8, s.behind
		FROM shown s
		LEFT JOIN pg_class c ON c.oid = s.relation AND s.database IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
		LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_database d ON d.oid = s.database`, oneTrip)
	if err != nil {
		return nil, err
	}
	var all []lock
	var l lock
	_, err = pgx.ForEachRow(rows, []any{&l.pid, &l.of.kind, &l.of.key, &l.object, &l.mode, &l.granted, &l.seconds, &l.behind}, func() error {
		all = append(all, l)
		return nil
	})
	return all, err
}
