package postgres_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/source/postgres"
)

// A table that holds nearly everything is read by all sessions together, and comes
// back row for row in its order, also where its values lie outside of it.
func TestOneLargeTable(t *testing.T) {
	t.Parallel()
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			f := newField(t, major)
			f.sql("app", `create table small (n int); insert into small values (1);
				create table large (n int, t text, outside text);
				alter table large alter column t set storage plain, alter column outside set storage external;
				select setseed(0.5);
				insert into large select n, repeat(md5(random()::text), 15), null from generate_series(1, 120000) n;
				update large set outside = (select string_agg(md5(n::text || i), '') from generate_series(1, 400) i) where n % 100 = 0;
				delete from large where n % 3 = 0;`)
			want := f.plain("app")
			o := f.options()
			o.Jobs = 3
			dir, summary := f.dump(o)
			parts := int64(0)
			for _, table := range summary.Receipt.Tables {
				parts = max(parts, table.Parts)
			}
			if parts < 3 {
				t.Errorf("the large table was read in %d parts: %+v", parts, summary.Receipt.Tables)
			}
			f.restore(dir, "copy", 4)
			same(t, "the copy", strings.ReplaceAll(f.plain("copy"), "copy", "app"), want)
		})
	}
}

// What is left out, by each of the flags, is what the stock pg_dump leaves out.
func TestFilters(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, major int) {
		f := newField(t, major)
		f.sql("app", recipe+`create schema s; create table s.a (n int); create table s."Odd.Name" (n int); insert into s.a values (1); insert into s."Odd.Name" values (2);`)
		for i, test := range []struct {
			args []string
			set  func(*postgres.Options)
		}{
			{[]string{"-t", "public.a", "-t", "[bc]"}, func(o *postgres.Options) { o.Tables = []string{"public.a", "[bc]"} }},
			{[]string{"-T", "a|b", "-T", `s."Odd.Name"`}, func(o *postgres.Options) { o.ExcludeTables = []string{"a|b", `s."Odd.Name"`} }},
			{[]string{"-n", "s"}, func(o *postgres.Options) { o.Schemas = []string{"s"} }},
			{[]string{"-N", "s"}, func(o *postgres.Options) { o.ExcludeSchemas = []string{"s"} }},
			{[]string{"--exclude-table-data=public.*"}, func(o *postgres.Options) { o.ExcludeTableData = []string{"public.*"} }},
		} {
			o := f.options()
			test.set(&o)
			dir, _ := f.dump(o)
			database := fmt.Sprintf("copy%d", i)
			f.restore(dir, database, 2)
			all := f.plain(database)
			if strings.Contains(strings.Join(test.args, " "), "-t") {
				all = f.plain(database, test.args...) // else the schemas, which are not dumped so
			}
			same(t, fmt.Sprint(test.args), strings.ReplaceAll(all, database, "app"), f.plain("app", test.args...))
		}
		// A name that nothing has is an error of pg_dump's own.
		o := f.options()
		o.Tables = []string{"nowhere"}
		dir := filepath.Join(t.TempDir(), "dump")
		if _, err := postgres.Dump(t.Context(), f.env(), o, dir); err == nil || !strings.Contains(err.Error(), "no matching tables") {
			t.Errorf("%v", err)
		}
		f.gone(dir)
	})
}

// Databases without tables, and without anything, are dumped.
func TestNoTables(t *testing.T) {
	t.Parallel()
	f := newField(t, 17)
	f.dump(f.options())
	f.sql("app", "create view v as select 1 as one; create sequence s; select nextval('s'); create foreign data wrapper w; create server n foreign data wrapper w; create foreign table t (n int) server n; select lo_from_bytea(0, 'x')")
	dir, summary := f.dump(f.options())
	if summary.Receipt.Large.Count != 1 || summary.Tables != 0 {
		t.Errorf("%+v", summary)
	}
	f.restore(dir, "copy", 1)
	same(t, "the copy", strings.ReplaceAll(f.plain("copy"), "copy", "app"), f.plain("app"))
}

// Tables of extensions whose content is configuration are read with their filter,
// though pg_dump does not lock them.
func TestExtensionConfiguration(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	for _, dir := range []string{path, filepath.Dir(path)} { // the server runs as another user
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(path, "extension"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"ours.control": "default_version = '1'\nrelocatable = true\n",
		"ours--1.sql": `create table config (k text, v text); insert into config values ('built in', '1');
			create table whole (n int);
			select pg_extension_config_dump('config', 'where k <> ''built in''');
			select pg_extension_config_dump('whole', '');`,
	} {
		if err := os.WriteFile(filepath.Join(path, "extension", name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := newField(t, 18, "extension_control_path = '"+path+"'")
	f.sql("app", "create extension ours; insert into config values ('mine', '2'); insert into whole values (3);"+recipe)
	dir, summary := f.dump(f.options())
	rows := map[string]int64{}
	for _, table := range summary.Receipt.Tables {
		rows[table.Table] = table.Rows
	}
	if rows["public.config"] != 1 || rows["public.whole"] != 1 {
		t.Errorf("%v", rows)
	}
	f.restore(dir, "copy", 2)
	same(t, "the copy", strings.ReplaceAll(f.plain("copy"), "copy", "app"), f.plain("app"))
	if got := f.value("copy", "select string_agg(k || v, ',' order by k) from config"); got != "built in1,mine2" {
		t.Errorf("config holds %s", got)
	}
}

// More tables than the server has room for locks are said before anything is locked,
// with the value that helps; with it, they are dumped.
func TestLockSlots(t *testing.T) {
	t.Parallel()
	f := newField(t, 15, "max_connections = 10", "max_locks_per_transaction = 10", "max_wal_senders = 0", "max_worker_processes = 0")
	f.sql("app", "do $$ begin for n in 1..20 loop execute format('create table a%s (n int)', n); end loop; end $$")
	for range 9 { // one transaction can lock no more than it has room for
		f.sql("app", "do $$ begin for n in 1..20 loop execute format('create table t%s_%s (n int)', (select count(*) from pg_class where relname like 't%'), n); end loop; end $$")
	}
	dir := filepath.Join(t.TempDir(), "dump")
	_, err := postgres.Dump(t.Context(), f.env(), f.options(), dir)
	for _, want := range []string{"200 tables", "room for 140 locks", "max_locks_per_transaction to 2"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	f.gone(dir)
	f.Stop()
	f.Conf("max_locks_per_transaction = 30")
	f.Start()
	if _, summary := f.dump(f.options()); summary.Tables != 200 {
		t.Errorf("%d tables", summary.Tables)
	}
}

// Servers whose own pg_dump is not there are dumped by the next newer one.
func TestNewerPgDump(t *testing.T) {
	t.Parallel()
	for _, major := range []int{13, 14, 16} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			f := newField(t, major)
			f.fill("app")
			dir, _ := f.dump(f.options())
			// Of the client's own version, since it reads no older server's every setting.
			target := newField(t, map[int]int{13: 15, 14: 15, 16: 17}[major])
			target.restore(dir, "copy", 4)
			same(t, "the copy", target.value("copy", "select count(*) || md5(string_agg(p::text, ',' order by id)) from people p"),
				f.value("app", "select count(*) || md5(string_agg(p::text, ',' order by id)) from people p"))
		})
	}
}
