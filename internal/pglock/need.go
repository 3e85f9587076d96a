package pglock

import (
	"context"

	"github.com/jackc/pgx/v5"

	"capstan/internal/pg"
)

// Need is what a dump of a whole database asks of the server's lock table.
type Need struct {
	Tables []Table `json:"tables"` // by schema and name
	// Slots are the locks that the dump holds at most at once: one a table in the
	// session that guards them, and one in the session that reads it.
	Slots int64 `json:"slots"`
	// Room is how many locks the server's table is sure to have room for, Used how
	// many are in it now.
	Room int64 `json:"room"`
	Used int64 `json:"used"`
	// PerTransaction is max_locks_per_transaction, Advised what it would have to be;
	// it needs a restart of the server. 0: there is room.
	PerTransaction int64 `json:"max_locks_per_transaction"`
	Advised        int64 `json:"advised,omitempty"`
}

// Table is one that a dump locks, in ACCESS SHARE mode.
type Table struct {
	Name string `json:"name"` // quoted as SQL wants it
	Size int64  `json:"size"` // bytes of its main fork
	// Taken is the PID of a session that holds or awaits ACCESS EXCLUSIVE on it: the
	// dump would wait for it. 0: none.
	Taken int `json:"taken_by,omitempty"`
}

// tables are what pg_dump locks when it is told to dump all: tables and partitioned
// tables outside the system's schemas that are no members of extensions, but for
// those that the extensions say hold configuration.
const tables = `
	SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname),
		CASE WHEN c.relkind = 'r' THEN c.relpages::bigint * current_setting('block_size')::bigint ELSE 0 END,
		coalesce((SELECT min(l.pid) FROM pg_locks l WHERE l.locktype = 'relation' AND l.relation = c.oid AND l.mode = 'AccessExclusiveLock'
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())), 0)
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
		AND (NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
			OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
	ORDER BY n.nspname, c.relname`

// Count says what a dump of the connection's database would lock, and whether there
// is room for it. It reads the catalogs only, and locks none of the tables. Sizes are
// of the last VACUUM or ANALYZE.
func Count(ctx context.Context, conn *pgx.Conn) (Need, error) {
	need := Need{Tables: []Table{}}
	var room pg.LockTable
	err := conn.QueryRow(ctx, pg.LockTableQuery, oneTrip).Scan(&room.Room, &room.Used, &room.PerTransaction)
	if err != nil {
		return need, err
	}
	rows, err := conn.Query(ctx, tables, oneTrip)
	if err != nil {
		return need, err
	}
	var table Table
	_, err = pgx.ForEachRow(rows, []any{&table.Name, &table.Size, &table.Taken}, func() error {
		need.Tables = append(need.Tables, table)
		return nil
	})
	if err != nil {
		return need, err
	}
	objects := int64(len(need.Tables))
	need.Slots = 2 * objects // guard and reader lock the same
	need.Room, need.Used, need.PerTransaction, need.Advised = room.Room, room.Used, room.PerTransaction, room.Advise(objects)
	return need, nil
}
