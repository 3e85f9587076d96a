package postgres_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/source/postgres"
)

var manyTables = flag.Int("tables", 2000, "tables of TestManyTables")

// Tables by the thousand, each with its row, come back; a server without room for so
// many locks is told before anything is locked. -tables says how many.
func TestManyTables(t *testing.T) {
	t.Parallel()
	n := *manyTables
	f := newField(t, 17, "max_connections = 20", "max_locks_per_transaction = 10", "autovacuum = off")
	const batch = 100 // each table takes a lock
	var fill strings.Builder
	for from := 0; from < n; from += batch {
		fmt.Fprintf(&fill, "do $$ begin for n in %d..%d loop execute format('create table \"T%%s\" as select %%1$s as n', n); end loop; end $$; commit;\n", from, min(from+batch, n)-1)
	}
	f.sql("app", fill.String())

	dir := filepath.Join(t.TempDir(), "dump")
	_, err := postgres.Dump(t.Context(), f.env(), f.options(), dir)
	for _, want := range []string{fmt.Sprintf("%d tables", n), "room for", "max_locks_per_transaction to"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%v lacks %q", err, want)
		}
	}
	f.gone(dir)
	f.Stop()
	f.Conf(fmt.Sprintf("max_locks_per_transaction = %d", n/5)) // guard and workers lock each table once: twice, of four times the room
	f.Start()

	dir, summary := f.dump(f.options())
	if summary.Tables != n || summary.Rows != int64(n) || summary.Receipt.Attempts != 2 {
		t.Errorf("%d tables, %d rows, %d attempts", summary.Tables, summary.Rows, summary.Receipt.Attempts)
	}
	if got := strings.Count(f.client("pg_restore", "--list", dir), " TABLE DATA "); got != n {
		t.Errorf("pg_restore lists %d tables with data", got)
	}
	// Each file is that of its table: their rows alone, without the definitions, of which
	// pg_restore makes thousands of transactions.
	held := map[string]bool{}
	for content := range strings.SplitSeq(f.client("pg_restore", "--data-only", "--file=-", dir), "COPY ") {
		data, _, _ := strings.Cut(content, "\\.\n")
		held[data] = true
	}
	for i := range n {
		if want := fmt.Sprintf("public.\"T%d\" (n) FROM stdin;\n%d\n", i, i); !held[want] {
			t.Fatalf("the dump lacks %q", want)
		}
	}
}
