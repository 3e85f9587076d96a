package postgres_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"capstan/internal/source/postgres"
)

var storms = flag.Int("storms", 5, "dumps that are made in a storm of statements that change tables")

const (
	stormTables   = 20
	stormRows     = 300
	stormSessions = 3
)

// storm is a session that changes tables without end. Each change leaves its table
// with stormRows rows of one generation: a dump that holds another number, or rows of
// two, has not seen the database of any one moment.
func (f *field) storm(ctx context.Context, t *testing.T, conn *pgx.Conn, session int, random *rand.Rand) {
	do := func(statements ...string) {
		for _, statement := range statements {
			_, err := conn.Exec(ctx, statement)
			if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == "40P01" {
				_, _ = conn.Exec(ctx, "rollback") // two of the storm's own sessions met; the server has undone it
				return
			}
			if err != nil && ctx.Err() == nil {
				t.Errorf("%s: %v", statement, err)
			}
			if err != nil {
				return
			}
		}
	}
	for generation := 1; ctx.Err() == nil; generation++ {
		// Sessions have tables of their own: what they do to each other is not looked at here.
		n := random.IntN(stormTables/stormSessions)*stormSessions + session
		table := fmt.Sprintf("t%d", n)
		rows := fmt.Sprintf("insert into %s (gen, n) select %d, n from generate_series(1, %d) n", table, session*1000000+generation, stormRows)
		switch random.IntN(8) {
		case 0, 1:
			do("begin; truncate " + table + "; " + rows + "; commit")
		case 2:
			do("alter table " + table + " alter column n type bigint; alter table " + table + " alter column n type int")
		case 3:
			do("alter table "+table+" add column if not exists more int default random() * 10", "alter table "+table+" drop column more")
		case 4:
			do("begin; drop table " + table + "; create table " + table + " (gen int, n int); create index on " + table + " (n); " + rows + "; commit")
		case 5:
			do("reindex table " + table)
		case 6:
			do("vacuum full " + table)
		case 7:
			part := fmt.Sprintf("part%d", session)
			do("begin; alter table parts detach partition " + part + "; truncate " + part + "; " +
				fmt.Sprintf("insert into %s select %d, %d, n from generate_series(1, %d) n; ", part, session, generation, stormRows) +
				fmt.Sprintf("alter table parts attach partition %s for values in (%d); commit", part, session))
		}
	}
}

// Dumps in a storm of statements that are not MVCC-safe succeed, and each holds the
// database of one moment. -storms says how many.
func TestStorm(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	fields := map[int]*field{}
	for i := range *storms {
		major := majors()[i%len(majors())]
		f := fields[major]
		if f == nil {
			f = newField(t, major, "autovacuum = off", "deadlock_timeout = 1s")
			fields[major] = f
			var schema strings.Builder
			for n := range stormTables {
				fmt.Fprintf(&schema, "create table t%[1]d (gen int, n int); create index on t%[1]d (n); insert into t%[1]d select 0, n from generate_series(1, %[2]d) n;\n", n, stormRows)
			}
			schema.WriteString("create table parts (part int, gen int, n int) partition by list (part);\n")
			for n := range stormSessions {
				fmt.Fprintf(&schema, "create table part%[1]d partition of parts for values in (%[1]d); insert into parts select %[1]d, 0, n from generate_series(1, %[2]d) n;\n", n, stormRows)
			}
			f.sql("app", schema.String())
		}
		ctx, calm := context.WithCancel(t.Context())
		over := make(chan struct{}, stormSessions)
		for session := range stormSessions {
			conn := f.Conn("app")
			random := rand.New(rand.NewPCG(seed, uint64(i*stormSessions+session)))
			go func() {
				f.storm(ctx, t, conn, session, random)
				over <- struct{}{}
			}()
		}
		dir, summary := f.dump(f.options())
		calm()
		for range stormSessions {
			<-over
		}
		f.inspect(t, dir, fmt.Sprintf("copy%d", i), summary)
		if t.Failed() {
			t.Fatalf("storm %d on %d, seed %d: %+v", i, major, seed, summary)
		}
	}
}

// inspect restores a dump and looks whether each table is of one generation.
func (f *field) inspect(t *testing.T, dir, database string, summary postgres.Summary) {
	t.Helper()
	f.restore(dir, database, 2)
	for n := range stormTables {
		if got := f.value(database, fmt.Sprintf("select count(*) || ' ' || count(distinct gen) from t%d", n)); got != fmt.Sprint(stormRows, " 1") {
			t.Errorf("t%d holds %s rows and generations", n, got)
		}
	}
	for n := range stormSessions {
		if got := f.value(database, fmt.Sprintf("select count(*) || ' ' || count(distinct gen) from part%d", n)); got != fmt.Sprint(stormRows, " 1") {
			t.Errorf("part%d holds %s rows and generations", n, got)
		}
	}
	t.Logf("attempts %d, locked after %.2fs, contested %d, longest wait inflicted %.2fs on %s", summary.Receipt.Attempts, summary.Receipt.LockSeconds,
		contested(summary), summary.Receipt.Inflicted.Seconds, summary.Receipt.Inflicted.Table)
	f.Exec("drop database " + database)
}

func contested(s postgres.Summary) (n int) {
	for _, table := range s.Receipt.Tables {
		if table.Contested {
			n++
		}
	}
	return n
}
