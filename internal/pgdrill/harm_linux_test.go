package pgdrill_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/codec"
	"capstan/internal/pgdrill"
	"capstan/internal/pgdump"
	source "capstan/internal/source/postgres"
)

// small fills the database with a few tables and dumps it.
func (f *field) small() {
	f.t.Helper()
	f.sql("app", `CREATE TABLE orders (id serial PRIMARY KEY, what text); INSERT INTO orders (what) SELECT 'order ' || md5(n::text) FROM generate_series(1, 20000) n;
		CREATE TABLE other (n int); INSERT INTO other SELECT generate_series(1, 10); SELECT lo_from_bytea(4711, 'large'), lo_from_bytea(4712, 'objects')`)
	f.dump("app")
}

// file is the data file of a table.
func (f *field) file(table string) (pgdump.Table, string) {
	f.t.Helper()
	dump, err := pgdump.Open(os.DirFS(f.dir))
	if err != nil {
		f.t.Fatal(err)
	}
	found, err := dump.Table(table)
	if err != nil {
		f.t.Fatal(err)
	}
	return found, filepath.Join(f.dir, found.File)
}

// change changes a file, and gives back what changes it back.
func change(t *testing.T, path string, how func([]byte) []byte) (back func()) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, how(bytes.Clone(before)), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// rewrite changes the rows of a table's file, which is well formed afterwards.
func (f *field) rewrite(table string, how func([]byte) []byte) (back func()) {
	f.t.Helper()
	found, path := f.file(table)
	return change(f.t, path, func(stored []byte) []byte {
		stream, err := codec.NewStream(found.Codec, bytes.NewReader(stored))
		if err != nil {
			f.t.Fatal(err)
		}
		rows, err := io.ReadAll(stream)
		if err != nil {
			f.t.Fatal(err)
		}
		stream.Close()
		encoder, err := codec.NewEncoder(found.Codec, 0)
		if err != nil {
			f.t.Fatal(err)
		}
		return encoder.Encode(nil, how(rows))
	})
}

func flipped(at int) func([]byte) []byte {
	return func(content []byte) []byte {
		content[at] ^= 1
		return content
	}
}

// What was changed in the dump's files is named, before a server is made: a byte that
// makes a file unreadable, one that does not, a row that is missing or there twice.
func TestChangedFiles(t *testing.T) {
	t.Parallel()
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			f := newField(t, major)
			f.small()
			f.step = func(_ context.Context, name, _ string) {
				if name != "files" {
					t.Errorf("after the files, %s is done", name)
				}
			}
			_, path := f.file("orders")
			back := change(t, path, func(content []byte) []byte { return flipped(len(content) / 2)(content) })
			if d := f.differs(f.options(), "table public.orders", "files"); d.Err == "" || *d.Expected != 20000 {
				t.Errorf("%+v", d)
			}
			back()
			back = f.rewrite("orders", flipped(100_000)) // a digit or letter of a value
			if d := f.differs(f.options(), "table public.orders", "files"); d.Err != "" || *d.Expected != 20000 || *d.Got != 20000 || *d.ExpectedHash == *d.GotHash {
				t.Errorf("%+v", d)
			}
			back()
			back = f.rewrite("orders", func(rows []byte) []byte { return rows[bytes.IndexByte(rows, '\n')+1:] })
			if d := f.differs(f.options(), "table public.orders", "files"); d.Err != "" || *d.Expected != 20000 || *d.Got != 19999 || !strings.Contains(d.String(), "19999 rows, expected 20000") {
				t.Errorf("%+v", d)
			}
			back()
			back = f.rewrite("other", func([]byte) []byte { return []byte("1\n2\n3\n4\n5\n6\n7\n8\n10\n10\n\\.\n\n\n") })
			if d := f.differs(f.options(), "table public.other", "files"); *d.Got != 10 {
				t.Errorf("%+v", d)
			}
			back()
			for damage, how := range map[string]func([]byte) []byte{
				"cut": func(toc []byte) []byte { return toc[:len(toc)/2] },
				"another default": func(toc []byte) []byte {
					return bytes.Replace(toc, []byte("what text"), []byte("whaT text"), 1)
				},
			} {
				back = change(t, filepath.Join(f.dir, pgdump.TOC), how)
				if d := f.differs(f.options(), pgdump.TOC, "files"); d.Err == "" {
					t.Errorf("%s: %+v", damage, d)
				}
				back()
			}
			back = change(t, filepath.Join(f.dir, source.ReceiptName), func(receipt []byte) []byte { return receipt[1:] })
			f.differs(f.options(), source.ReceiptName, "files")
			back()
			blob := filepath.Join(f.dir, "blob_4711.dat"+filepath.Ext(path))
			back = change(t, blob, func(content []byte) []byte { return flipped(len(content) / 2)(content) })
			f.differs(f.options(), "large objects", "files")
			back()
			if err := os.Remove(blob); err != nil {
				t.Fatal(err)
			}
			f.differs(f.options(), "large objects", "files")
		})
	}
}

// What is not restored as it was dumped is named, though the files are sound.
func TestChangedInTheDatabase(t *testing.T) {
	t.Parallel()
	f := newField(t, 17)
	f.small()
	// In the order in which tables are compared there is none twice.
	f.sql("app", "CREATE TABLE gone (n int); CREATE TABLE less (n int); INSERT INTO less SELECT generate_series(1, 100); CREATE TABLE twice (n int); INSERT INTO twice SELECT generate_series(1, 100)")
	if err := os.RemoveAll(f.dir); err != nil {
		t.Fatal(err)
	}
	f.dump("app")
	f.step = func(ctx context.Context, name, url string) {
		if name == "compare" {
			exec(ctx, t, url, `UPDATE public.orders SET what = what || ' ' WHERE id = 1234; DROP TABLE public.gone; DELETE FROM public.less WHERE n = 50;
				UPDATE public.twice SET n = 1 WHERE n = 2; SELECT setval('public.orders_id_seq', 20001), lo_put(4711, 1, 'X')`)
		}
	}
	s, err := f.drill(t.Context(), f.options())
	if !errors.Is(err, capstan.ErrIncomplete) || s.Status != pgdrill.Differs || len(s.Differences) != 6 || s.Tables != 1 || s.Rows != 10 {
		t.Fatalf("%v\n%+v", err, s)
	}
	f.clean()
	var told strings.Builder
	for _, d := range s.Differences {
		fmt.Fprintln(&told, d)
	}
	for _, want := range []string{"large objects, restored: other content", "sequence public.orders_id_seq, restored: it is at 20001 (called: true), expected 20000 (true)", "table public.gone, restored: relation", "table public.less, restored: 99 rows, expected 100", "table public.orders, restored: other content", "table public.twice, restored: other content"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("%q is not told:\n%s", want, told.String())
		}
	}
}

// What pg_restore cannot restore is a finding too: here, a check that an older row does
// not pass.
func TestProblems(t *testing.T) {
	t.Parallel()
	f := newField(t, 15)
	f.sql("app", "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2); CREATE FUNCTION fine(n int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; ALTER TABLE t ADD CHECK (fine(n)); CREATE OR REPLACE FUNCTION fine(n int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT n > 1'")
	f.dump("app")
	s, err := f.drill(t.Context(), f.options())
	if !errors.Is(err, capstan.ErrIncomplete) || len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Object, "t") || len(s.Differences) != 1 || *s.Differences[0].Got != 0 || *s.Differences[0].Expected != 2 {
		t.Errorf("%v\n%+v", err, s)
	}
	f.clean()
}

// slow is a database whose restore does not end: an index calls a function that sleeps
// there.
func (f *field) slow() {
	f.t.Helper()
	f.sql("app", `CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
		IF current_database() LIKE 'capstan_drill_%' THEN PERFORM pg_sleep(3600); END IF; RETURN n; END $$;
		CREATE TABLE t (n int); INSERT INTO t VALUES (1); CREATE INDEX ON t (public.slow(n))`)
	f.dump("app")
}

// sleeping waits until the restore sleeps, on the server of that URL.
func sleeping(ctx context.Context, t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close(ctx)
	pgtest.Eventually(t, 4*short, func() (bool, string) {
		var n int
		err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").Scan(&n)
		return err == nil && n > 0, fmt.Sprint("nothing sleeps: ", err)
	})
}

// In the middle of a restore: a server that is killed, and a drill that is cancelled.
// Both are told as what they are, nothing is proven, and nothing is left.
func TestEndsInTheMiddle(t *testing.T) {
	t.Parallel()
	f := newField(t, 18)
	f.slow()
	reason := errors.New("the test's own reason")
	for name, end := range map[string]func(cancel context.CancelCauseFunc){
		"scratch server": func(context.CancelCauseFunc) {
			for _, pid := range serversIn(t, f.scratch) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
		},
		reason.Error(): func(cancel context.CancelCauseFunc) { cancel(reason) },
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan struct{})
		f.step = func(ctx context.Context, step, url string) {
			if step != "restore" {
				return
			}
			before, _, _ := strings.Cut(url, "capstan_drill_")
			_, query, _ := strings.Cut(url, "?")
			go func() {
				defer close(done)
				sleeping(ctx, t, before+"postgres?"+query)
				end(cancel)
			}()
		}
		s, err := f.drill(ctx, f.options())
		<-done
		if err == nil || errors.Is(err, capstan.ErrIncomplete) || !strings.Contains(err.Error(), name) || s.Status != pgdrill.Failed {
			t.Errorf("%s: %v\n%+v", name, err, s)
		}
		if pids := serversIn(t, f.scratch); len(pids) > 0 {
			t.Errorf("%s: servers %v are left", name, pids)
		}
		f.clean()
		cancel(nil)
	}
}

// serversIn are the first processes of the servers in a directory.
func serversIn(t *testing.T, dir string) (pids []int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // it has just gone
		}
		line, _, _ := strings.Cut(string(content), "\n")
		if pid, err := strconv.Atoi(line); err == nil && syscall.Kill(pid, 0) == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// What a drill needs and does not have is named, with nothing made.
func TestMissing(t *testing.T) {
	t.Parallel()
	f := newField(t, 15)
	f.sql("app", "CREATE TABLE t (n int)")
	f.dump("app")
	fails := func(o pgdrill.Options, class error, words ...string) {
		t.Helper()
		s, err := f.drill(t.Context(), o)
		if err == nil || s.Status != pgdrill.Failed || errors.Is(err, capstan.ErrIncomplete) || class != nil && !errors.Is(err, class) {
			t.Errorf("%v\n%+v", err, s)
		}
		told := fmt.Sprint(err)
		if e := (&capstan.Error{}); errors.As(err, &e) {
			told += e.Next
		}
		for _, word := range words {
			if !strings.Contains(told, word) {
				t.Errorf("%q is not in %s", word, told)
			}
		}
		f.clean()
	}
	o := f.options()
	o.Bin = t.TempDir()
	fails(o, nil, "initdb", "postgresql-15")
	o.Bin = pgtest.Bin(t, 14)
	fails(o, nil, "14.", "postgresql-15")
	o = f.options()
	o.RunAs = "nobody-of-that-name"
	if os.Geteuid() == 0 {
		fails(o, capstan.ErrUsage, "nobody-of-that-name")
	}
	o = f.options()
	o.Settings = []string{"no_such_setting=1"}
	fails(o, nil, "no_such_setting")
	o = f.options()
	o.Scratch = filepath.Join(f.scratch, strings.Repeat("long", 30))
	fails(o, capstan.ErrUsage, "--scratch")
	o = f.options()
	o.Dir = t.TempDir()
	fails(o, capstan.ErrNotFound, pgdump.TOC)
	o.Dir = ""
	fails(o, capstan.ErrUsage)
	o = f.options()
	o.Server = f.URL("postgres")
	fails(o, capstan.ErrUsage, "--scratch")

	defer change(t, filepath.Join(f.dir, source.ReceiptName), func(raw []byte) []byte {
		var receipt source.Receipt
		if err := json.Unmarshal(raw, &receipt); err != nil {
			t.Fatal(err)
		}
		receipt.Tables[0].Bytes = 1 << 50
		raw, err := json.Marshal(receipt)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	})()
	fails(f.options(), capstan.ErrNoSpace, "2048.0 TiB", "--scratch")
}

// Into a given server: a database of its own, which is gone afterwards, and nothing
// else is touched, whatever is missing there.
func TestGivenServer(t *testing.T) {
	t.Parallel()
	f := newField(t, 15)
	f.small()
	f.sql("app", "CREATE ROLE boss; ALTER TABLE orders OWNER TO boss; GRANT SELECT ON other TO boss")
	if err := os.RemoveAll(f.dir); err != nil {
		t.Fatal(err)
	}
	f.dump("app")
	f.sql("app", "TRUNCATE other") // the server has moved on; the dump has not
	databases := f.Text("SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database")
	given := pgdrill.Options{Dir: f.dir, Server: f.URL("postgres"), PgRestore: pgtest.Client(t, 15, "pg_restore"), Jobs: 2}
	for _, url := range []string{f.URL("postgres"), f.DSN("app")} {
		given.Server = url
		if s := f.proven(given); s.Scratch || s.Tables != 2 || s.Rows != 20010 || s.Large != 2 {
			t.Errorf("%+v", s)
		}
	}
	f.step = func(ctx context.Context, name, url string) {
		if name == "compare" {
			exec(ctx, t, url, "DELETE FROM other WHERE n = 1")
		}
	}
	f.differs(given, "table public.other", "restored")
	f.step = nil
	newer := newField(t, 17)
	given.Server, given.PgRestore = newer.URL("postgres"), pgtest.Client(t, 17, "pg_restore")
	if s := f.proven(given); !strings.HasPrefix(s.Server, "17.") || !strings.Contains(f.heard(), "boss") {
		t.Errorf("%+v\n%s", s, f.heard())
	}
	if roles := newer.Text("SELECT count(*) FROM pg_roles WHERE rolname = 'boss'"); roles != "0" {
		t.Error("a role was made on a given server")
	}
	if now := f.Text("SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database"); now != databases {
		t.Errorf("databases %s, before %s", now, databases)
	}
}

// A dump by the stock pg_dump has no receipt: its files are what is compared with, by
// the number of rows. Rows of foreign tables are never written to where they come from.
func TestStockDump(t *testing.T) {
	t.Parallel()
	f := newField(t, 15)
	f.sql("app", fmt.Sprintf(`CREATE TABLE orders AS SELECT n, md5(n::text) AS what FROM generate_series(1, 5000) n; CREATE TABLE "no columns" (); INSERT INTO "no columns" DEFAULT VALUES;
		CREATE TABLE remote (n int); INSERT INTO remote VALUES (1), (2); CREATE EXTENSION postgres_fdw; CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%s', port '%d', dbname 'app');
		CREATE USER MAPPING FOR postgres SERVER loop OPTIONS (user 'postgres'); CREATE FOREIGN TABLE away (n int) SERVER loop OPTIONS (table_name 'remote'); SELECT lo_from_bytea(0, 'large')`, f.Socket, f.Port))
	f.stock("pg_dump", "-Fd", "--include-foreign-data=loop", "-f", f.dir, f.URL("app"))
	s := f.proven(f.options())
	if s.Against != pgdrill.AgainstFiles || !s.Snapshot.IsZero() || s.Tables != 3 || s.Rows != 5003 || s.Large != 1 || !slices.Contains(s.NotCompared, "rows of foreign table public.away") || !strings.Contains(f.heard(), "no receipt") {
		t.Errorf("%+v\n%s", s, f.heard())
	}
	if n := f.Text("SELECT count(*) FROM pg_stat_user_tables"); n != "0" {
		t.Errorf("%s tables in another database", n)
	}
	conn := f.Conn("app")
	var n int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM remote").Scan(&n); err != nil || n != 2 {
		t.Errorf("the foreign server has %d rows, %v", n, err)
	}
	f.step = func(ctx context.Context, name, url string) {
		if name == "compare" {
			exec(ctx, t, url, "DELETE FROM public.orders WHERE n = 1")
		}
	}
	if d := f.differs(f.options(), "table public.orders", "restored"); *d.Expected != 5000 || *d.Got != 4999 {
		t.Errorf("%+v", d)
	}
	f.step = nil
	_, path := f.file("orders")
	change(t, path, func(content []byte) []byte { return content[:len(content)/2] })
	f.differs(f.options(), "table public.orders", "files")
}

// A database of another encoding, with names and values that are not ASCII.
func TestEncoding(t *testing.T) {
	t.Parallel()
	f := newField(t, 17)
	f.Exec("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
	f.sql("latin", `CREATE TABLE "größe" ("ä" text, id serial); INSERT INTO "größe" ("ä") VALUES ('é'), ('ü'), (E'\\x')`)
	f.dump("latin")
	if s := f.proven(f.options()); s.Tables != 1 || s.Rows != 3 || s.Sequences != 1 {
		t.Errorf("%+v", s)
	}
}
