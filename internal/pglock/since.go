package pglock

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Mark is what a server knows a table's rows by: the OID of the table, and the number of
// the file that they lie in, in decimal. TRUNCATE and whatever rewrites the table (VACUUM
// FULL, CLUSTER, many an ALTER) give it another file.
type Mark struct{ OID, Filenode string }

// Past is a database as a dump found it.
type Past struct {
	Time   time.Time
	Tables map[string]Mark // by schema.table, not quoted
}

// Change is a table whose rows were replaced between dumps: what was read of it beside
// that would have been lost, and who replaced it would have waited for the dump.
type Change struct {
	Table string `json:"table"` // schema.table, not quoted
	// Rewritten and Remade count the spans between two looks in which it was truncated or
	// rewritten, and in which it was dropped and made again; Spans are all of them.
	Rewritten int `json:"rewritten"`
	Remade    int `json:"remade"`
	Spans     int `json:"spans"`
	// Lately says that it happened since the last dump too.
	Lately bool `json:"lately"`
	// First and Exclude are flags for the next dump: to be read and released before the
	// others, or left out.
	First   string `json:"first"`
	Exclude string `json:"exclude"`
}

// Times is in how many spans the table was replaced in any way.
func (c Change) Times() int { return c.Rewritten + c.Remade }

// present looks at the marks that all tables of a database have now. It locks none.
const present = `
	SELECT n.nspname || '.' || c.relname, c.oid::text, coalesce(pg_relation_filenode(c.oid), 0)::text
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'`

// Now is the database of a connection as it is at this moment.
func Now(ctx context.Context, conn *pgx.Conn) (Past, error) {
	now := Past{Time: time.Now(), Tables: map[string]Mark{}}
	rows, err := conn.Query(ctx, present, oneTrip)
	if err != nil {
		return now, err
	}
	var name string
	var mark Mark
	_, err = pgx.ForEachRow(rows, []any{&name, &mark.OID, &mark.Filenode}, func() error {
		now.Tables[name] = mark
		return nil
	})
	return now, err
}

// Compare names the tables that were replaced between one look and the next, the most
// often replaced first. Looks may be in any order; a table that is in one of two looks
// alone is none of them.
func Compare(looks []Past) []Change {
	looks = slices.Clone(looks)
	slices.SortStableFunc(looks, func(a, b Past) int { return a.Time.Compare(b.Time) })
	changes := map[string]*Change{}
	for i := 1; i < len(looks); i++ {
		for name, before := range looks[i-1].Tables {
			after, there := looks[i].Tables[name]
			if !there || after == before || before.OID == "" || after.OID == "" {
				continue
			}
			c := changes[name]
			if c == nil {
				c = &Change{Table: name, Spans: len(looks) - 1, First: "--first " + shell(glob(name)), Exclude: "--exclude-table " + shell(pattern(name))}
				changes[name] = c
			}
			if before.OID != after.OID {
				c.Remade++
			} else {
				c.Rewritten++
			}
			c.Lately = i == len(looks)-1
		}
	}
	all := make([]Change, 0, len(changes))
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		all = append(all, *changes[name])
	}
	slices.SortStableFunc(all, func(a, b Change) int { return cmp.Compare(b.Times(), a.Times()) })
	return all
}

// glob makes a name into the pattern of --first that it alone matches.
func glob(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// pattern makes a name into the pattern of pg_dump that it alone matches: what stands in
// quotes there is taken as it is. A dot belongs to the schema's name or to the table's;
// the first one is taken for the one between them.
func pattern(name string) string {
	schema, table, _ := strings.Cut(name, ".")
	parts := []string{schema, table}
	for i, part := range parts {
		if strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || part == "" {
			parts[i] = `"` + strings.ReplaceAll(part, `"`, `""`) + `"`
		}
	}
	return strings.Join(parts, ".")
}

// shell quotes a word for a shell where it has to be.
func shell(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Identity tells which database a connection is to: its name and the identifier of its
// cluster, empty where the role may not ask.
func Identity(ctx context.Context, conn *pgx.Conn) (database, system string, err error) {
	if err := conn.QueryRow(ctx, "SELECT current_database()::text", oneTrip).Scan(&database); err != nil {
		return "", "", err
	}
	if err := conn.QueryRow(ctx, "SELECT system_identifier::text FROM pg_control_system()", oneTrip).Scan(&system); err != nil {
		refused, is := errors.AsType[*pgconn.PgError](err)
		if !is || refused.Code != "42501" {
			return "", "", err
		}
	}
	return database, system, nil
}
