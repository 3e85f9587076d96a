package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgproxy"
)

// table is one that the dump locks.
type table struct {
	quoted       string // qualified and quoted, as pg_dump writes it
	schema, name string
	oid          string // decimal
	filenode     string // decimal, 0 where it has none: another one after TRUNCATE and after a rewrite
	kind         string // pg_class.relkind
	heap         bool   // of the access method that ctid ranges are known of
	bytes        int64  // on the server, with what lies outside the rows; an estimate for the plan
	pages        int64  // of the rows themselves
	// configuration says that an extension has it dumped, perhaps in part.
	configuration bool
	// guess is the statement that pg_dump will most likely read it with, so that the
	// reading need not wait until pg_dump says it; empty: it will have to. A guess that
	// was wrong counts for nothing: the guard reads the table, which it still has.
	guess  string
	missed bool // pg_dump reads it otherwise than was guessed

	copies []*datum // what is read of it: one as a rule, none where only its definition is dumped
}

// datum is one data file of the dump: a COPY and where its result belongs.
type datum struct {
	pgproxy.Copy
	file string // "3481.dat"
	tag  string // for people: schema.table
}

// kinds that can be locked, and hold data of their own.
const (
	kindTable       = "r"
	kindPartitioned = "p"
	kindForeign     = "f"
)

// hasData reports whether a table can have data of its own.
func (t *table) hasData() bool { return t.kind == kindTable }

// describe looks the locked tables up. Sizes are asked for while conn holds the locks,
// so that it waits for nobody.
func describe(ctx context.Context, conn *pgconn.PgConn, names []string) ([]*table, error) {
	if len(names) == 0 {
		return nil, nil
	}
	rows, err := texts(ctx, conn, `select t.name, n.nspname, c.relname, c.oid, c.relkind, coalesce(m.amname = 'heap', false),
		case when o.oid is null then 0 when s.steady and pg_stat_get_ins_since_vacuum(o.oid) <= 50 + greatest(o.reltuples, 0) / 10 then o.relpages * b.size
			else pg_relation_size(o.oid) end,
		case when c.relkind <> 'r' then 0 when s.steady then c.relpages * b.size else pg_relation_size(c.oid) end,
		b.size, coalesce(pg_relation_filenode(c.oid), 0), c.oid in (select unnest(e.extconfig) from pg_extension e),
		case when c.relkind = 'r' and c.relpersistence = 'p' and not c.oid in (select d.objid from pg_depend d
			where d.refclassid = 'pg_extension'::regclass and d.classid = 'pg_class'::regclass and d.deptype = 'e')
			then 'COPY ' || t.name || ' ' || coalesce('(' || (select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
				where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') || ')', '') || ' TO stdout' else '' end
		from unnest(array[`+literals(names)+`]) with ordinality t(name, nr) join pg_class c on c.oid = t.name::regclass
		cross join (select current_setting('block_size')::bigint as size) b
		cross join lateral (`+steady+`) s
		join pg_namespace n on n.oid = c.relnamespace left join pg_am m on m.oid = c.relam
		left join pg_class o on o.oid = c.reltoastrelid and c.relkind = 'r' order by t.nr`)
	if err != nil {
		return nil, err
	}
	tables := make([]*table, 0, len(rows))
	for _, row := range rows {
		t := &table{quoted: row[0], schema: row[1], name: row[2], oid: row[3], kind: row[4], heap: row[5] == "t", filenode: row[9], configuration: row[10] == "t", guess: row[11]}
		var numbers [3]int64
		for i := range numbers {
			if numbers[i], err = strconv.ParseInt(row[6+i], 10, 64); err != nil {
				return nil, err
			}
		}
		outside, inside, page := numbers[0], numbers[1], numbers[2]
		t.bytes, t.pages = inside+outside, inside/page
		tables = append(tables, t)
	}
	return tables, nil
}

// steady tells of a table c, by the server's statistics, that it has about the size that
// it had when it was looked at last: asking for the size of a file makes the server open
// the table, which takes longer than all else that is asked of it. A standby counts no
// changes. An estimate that is wrong makes a plan that is worse, and nothing else.
const steady = `select not pg_is_in_recovery() and (c.relpages > 0 or changed > 0) and changed <= 50 + greatest(c.reltuples, 0) / 10 as steady
	from pg_stat_get_mod_since_analyze(c.oid) changed`

// unlockable are those of the names that LOCK TABLE does not take: foreign tables.
func unlockable(ctx context.Context, conn *pgconn.PgConn, names []string) (map[string]bool, error) {
	rows, err := texts(ctx, conn, "select t.name from unnest(array["+literals(names)+"]::text[]) t(name) join pg_class c on c.oid = to_regclass(t.name) where c.relkind not in ('r', 'p')")
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, row := range rows {
		found[row[0]] = true
	}
	return found, nil
}

// askRoom refuses to lock more tables than the server has room for.
func (m *monitor) askRoom(ctx context.Context, tables int) error {
	rows, err := m.texts(ctx, pg.LockTableQuery)
	if err != nil {
		return err
	}
	var room pg.LockTable
	for i, number := range []*int64{&room.Room, &room.Used, &room.PerTransaction} {
		if *number, err = strconv.ParseInt(rows[0][i], 10, 64); err != nil {
			return fmt.Errorf("room for locks %q: %w", rows[0], err)
		}
	}
	advised := room.Advise(int64(tables))
	if advised == 0 {
		return nil
	}
	return &capstan.Error{
		Op: "lock", Object: fmt.Sprintf("%d tables", tables),
		Err:  fmt.Errorf("the server has room for %d locks, %d are in use", room.Room, room.Used),
		Safe: "nothing was locked",
		Next: fmt.Sprintf("set max_locks_per_transaction to %d or more and restart the server, or dump schema by schema (--schema)", advised),
	}
}

// lockStatement locks some tables without those that inherit from them.
func lockStatement(names ...string) string {
	return "LOCK TABLE ONLY " + strings.Join(names, ", ONLY ") + " IN ACCESS SHARE MODE"
}

// timeoutStatement bounds each wait for a lock, in this transaction.
func timeoutStatement(d time.Duration) string {
	return fmt.Sprintf("SET LOCAL lock_timeout = %d", d.Milliseconds())
}
