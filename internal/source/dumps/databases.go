package dumps

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgdump"
)

// Databases lists the databases of a server that take connections and are no
// templates, by name; closed are those that are no templates, and take none.
func Databases(ctx context.Context, url string) (names, closed []string, err error) {
	conn, err := pg.Connect(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	err = conn.QueryRow(ctx, `SELECT array_agg(datname::text ORDER BY datname) FILTER (WHERE datallowconn), array_agg(datname::text ORDER BY datname) FILTER (WHERE NOT datallowconn)
		FROM pg_catalog.pg_database WHERE NOT datistemplate`).Scan(&names, &closed)
	if err != nil {
		return nil, nil, &capstan.Error{Op: "list the databases of", Object: "the server", Err: err}
	}
	return names, closed, nil
}

// ServerReceipt is the file beside the dumps of a server's databases, and their
// globals.sql, that says which there are.
const ServerReceipt = "capstan-databases.json"

// Directories are the names of the directories that databases are dumped into, one for
// each: its own name, as far as a directory can have it. No two differ in case alone.
func Directories(databases []string) []string {
	names := make([]string, 0, len(databases))
	taken := []string{pgdump.Globals, pgdump.TOC, ServerReceipt}
	for i, database := range databases {
		name := component(database)
		for n := i + 1; slices.ContainsFunc(taken, func(t string) bool {
			return strings.EqualFold(t, name) || strings.EqualFold(t, name+".part") || strings.EqualFold(t+".part", name)
		}); n++ {
			name = component(database) + "-" + strconv.Itoa(n)
		}
		names, taken = append(names, name), append(taken, name)
	}
	return names
}
