package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/pgdump"
)

// scratchDir is a directory for scratch servers, whose name is short enough for a socket.
func scratchDir(t *testing.T) string {
	t.Helper()
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "drill") //nolint:usetesting // its own is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// left are the entries of a directory.
func left(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A drill as it is typed: proven is 0, what differs is 3 and named, and nothing is left.
func TestPgDrillAsTyped(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15})
	s.Start()
	s.Exec("create table orders (id serial primary key, what text)", "insert into orders (what) select md5(n::text) from generate_series(1, 10000) n", "create materialized view v as select count(*) from orders")
	dir, scratch := filepath.Join(t.TempDir(), "dump"), scratchDir(t)
	f.exits(0, []string{"pg", "dump", s.URL("postgres"), "-o", dir})
	drill := []string{"pg", "drill", dir, "--scratch", scratch, "--jobs", "2", "--set", "shared_buffers=16MB"}
	if e := f.exits(0, drill); !strings.Contains(e.out, "proven") || !strings.Contains(e.out, "1 table, 10,000 rows, 1 sequence") || !strings.Contains(e.out, "not compared: materialized view public.v") {
		t.Errorf("%s", e.out)
	}
	var summary struct {
		Type, Status, Against string
		Rows                  int64
		Differences           []struct {
			Object   string
			In       string
			Expected int64  `json:"expected_rows"`
			Hash     string `json:"expected_hash"`
		}
	}
	object(t, f.exits(0, append(drill, "--json")), &summary)
	if summary.Type != "summary" || summary.Status != "proven" || summary.Against != "source" || summary.Rows != 10000 || summary.Differences == nil {
		t.Errorf("%+v", summary)
	}
	f.exits(1, append(drill, "--timeout", "1ns"), "not through after 1ns")
	f.exits(2, append(drill, "--jobs", "1000"), "--jobs")
	f.exits(2, append(drill, "--timeout", "-1s"), "--timeout")
	f.exits(10, []string{"pg", "drill", f.dir}, "toc.dat")
	f.exits(1, append(drill, "--bindir", f.dir), "postgresql-15")
	if e := f.exits(0, []string{"pg", "drill", dir, "--server", s.URL("postgres")}); !strings.Contains(e.out, "proven") {
		t.Errorf("%s", e.out)
	}
	if n := s.Text("select count(*) from pg_database"); n != "3" {
		t.Errorf("%s databases", n)
	}

	dump, err := pgdump.Open(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	table, err := dump.Table("orders")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, table.File))
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 0x10
	if err := os.WriteFile(filepath.Join(dir, table.File), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := f.exits(3, drill, "table public.orders"); !strings.Contains(e.out, "differs") || !strings.Contains(e.out, "table public.orders, in the dump's files") {
		t.Errorf("%s", e.out)
	}
	object(t, f.exits(3, append(drill, "--json")), &summary)
	if summary.Status != "differs" || len(summary.Differences) != 1 || summary.Differences[0].Object != "table public.orders" || summary.Differences[0].In != "files" || summary.Differences[0].Expected != 10000 {
		t.Errorf("%+v", summary)
	}
	if n := left(t, scratch); n != 0 {
		t.Errorf("%d are left", n)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "home")); err == nil {
		t.Error("a drill of a directory has made a home")
	}
}

// A drill that is interrupted leaves nothing; of one that is killed the server ends by
// itself, and the next drill removes the rest.
func TestPgDrillKilled(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15})
	s.Start()
	s.Exec(`create function slow(n int) returns int language plpgsql immutable as $$ begin
		if current_database() like 'capstan_drill_%' then perform pg_sleep(3600); end if; return n; end $$`,
		"create table t (n int)", "insert into t values (1)", "create index on t (public.slow(n))")
	dir, scratch := filepath.Join(t.TempDir(), "dump"), scratchDir(t)
	f.exits(0, []string{"pg", "dump", s.URL("postgres"), "-o", dir})
	drill := []string{"pg", "drill", dir, "--scratch", scratch}
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 130} {
		p := f.start(drill...)
		pgtest.Eventually(t, verdict, func() (bool, string) { return sleeps(t, scratch), "the restore sleeps" })
		p.signal(signal)
		if e := p.end(); e.code != code {
			t.Errorf("%s: exit %d: %s", signal, e.code, e.err)
		}
		if n := left(t, scratch); n != 0 {
			t.Errorf("%s: %d are left", signal, n)
		}
	}
	p := f.start(drill...)
	pgtest.Eventually(t, verdict, func() (bool, string) { return sleeps(t, scratch), "the restore sleeps" })
	p.signal(syscall.SIGKILL)
	p.end()
	if left(t, scratch) != 1 {
		t.Fatal("there is no directory to remove")
	}
	s.Exec("drop index t_slow_idx")
	other := dir + "2"
	f.exits(0, []string{"pg", "dump", s.URL("postgres"), "-o", other})
	f.exits(0, []string{"pg", "drill", other, "--scratch", scratch}, "left behind")
	if n := left(t, scratch); n != 0 {
		t.Errorf("%d are left", n)
	}
	pgtest.Eventually(t, verdict, func() (bool, string) {
		found := processesIn(t, scratch)
		return len(found) == 0, fmt.Sprintf("processes are left: %q", found)
	})
}

// sleeps reports whether a session of a server in a directory sleeps.
func sleeps(t *testing.T, scratch string) bool {
	t.Helper()
	for _, title := range processesIn(t, scratch) {
		if strings.Contains(title, "CREATE INDEX") {
			return true
		}
	}
	return false
}

// processesIn are the titles of the processes that work below a directory.
func processesIn(t *testing.T, dir string) (titles []string) {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range found {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, dir+"/") {
			title, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline")) // it may be gone
			titles = append(titles, string(bytes.ReplaceAll(title, []byte{0}, []byte(" "))))
		}
	}
	return titles
}

// The dump of a set is drilled, and the catalog knows when it was last proven; a set
// that is damaged is named, and the last proof is kept.
func TestPgDrillSet(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	shopIn(t, s, "shop")
	scratch := scratchDir(t)
	f.exits(0, []string{"backup", s.URL("shop"), "--to", f.vol, "--jobs", "2", "--pg-dump", pgtest.Client(t, 15, "pg_dump")})
	drill := []string{"pg", "drill", "latest", "--scratch", scratch, "--set", "shared_buffers=16MB"}
	type drills struct {
		Drills []struct {
			Dump   string
			Proven bool
			At     string
			Last   string `json:"last_proven"`
			Tables int64
			Rows   int64
		}
	}
	var known drills
	object(t, f.exits(0, []string{"show", "latest", "--json"}), &known)
	if len(known.Drills) != 0 {
		t.Errorf("%+v", known)
	}
	if e := f.exits(0, drill); !strings.Contains(e.out, "shop: proven; database shop restored into PostgreSQL 15") || !strings.Contains(e.out, "7 tables, 81,003 rows, 1 sequence, 2 large objects") {
		t.Errorf("%s", e.out)
	}
	object(t, f.exits(0, []string{"show", "latest", "--json"}), &known)
	if len(known.Drills) != 1 || !known.Drills[0].Proven || known.Drills[0].Dump != "shop" || known.Drills[0].Tables != 7 || known.Drills[0].Rows != 81003 || known.Drills[0].Last != known.Drills[0].At {
		t.Errorf("%+v", known)
	}
	for _, told := range []struct{ out, want string }{
		{f.run("show", "latest"), "drill     shop: proven restorable"},
		{f.run("sets"), "complete, proven"},
		{f.run("sets", "--json"), `"drills":[{"dump":"shop"`},
		{f.run("catalog", "export"), `{"type":"drill","set":`},
		{f.run("catalog", "export"), `"action":"drill"`},
	} {
		if !strings.Contains(told.out, told.want) {
			t.Errorf("%s is not in\n%s", told.want, told.out)
		}
	}
	// What could not be carried out is no outcome.
	f.exits(1, append(drill, "--bindir", f.dir), "postgresql-15")

	archives, err := filepath.Glob(filepath.Join(f.vol, "*", "backup_*.tar.zst"))
	if err != nil || len(archives) != 1 {
		t.Fatal(archives, err)
	}
	content, err := os.ReadFile(archives[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 0x10
	if err := os.WriteFile(archives[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	f.exits(3, drill, "damaged")
	var later drills
	object(t, f.exits(0, []string{"show", "latest", "--json"}), &later)
	if len(later.Drills) != 1 || later.Drills[0].Proven || later.Drills[0].Last != known.Drills[0].At {
		t.Errorf("%+v", later)
	}
	if out := f.run("sets"); !strings.Contains(out, "drill differs") {
		t.Error(out)
	}
	if out := f.run("show", "latest"); !strings.Contains(out, "shop: differed") || !strings.Contains(out, "last proven") {
		t.Error(out)
	}
	if n := left(t, scratch) + left(t, filepath.Join(f.dir, "home", "stage", "spool")); n != 0 {
		t.Errorf("%d are left", n)
	}
}
