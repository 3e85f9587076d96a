package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// Which tables were truncated, rewritten or made anew between dumps, and since the last,
// with the flags that the next dump takes; they do what they say.
func TestPgLocksSince(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 17, Memory: true})
	s.Start()
	s.Exec(`create schema "Odd"`, `create table "Odd"."Stage ""1""*" (n int)`, "create table cache (n int)", "create table kept (n int)", "create table remade (n int)",
		"insert into kept values (1)", "create role reader login", `grant usage on schema "Odd" to reader`, "grant pg_read_all_data to reader", "create database other")
	dumps := t.TempDir()
	dump := func(nr int, args ...string) {
		f.exits(0, append([]string{"pg", "dump", s.URL("postgres"), "-o", filepath.Join(dumps, fmt.Sprint(nr)), "--pg-dump", pgtest.Client(t, 17, "pg_dump")}, args...))
	}
	dump(1)
	locks := []string{"pg", "locks", s.URL("postgres")}
	if out := f.exits(0, append(locks, "--since", filepath.Join(dumps, "1"))).out; !strings.Contains(out, "no table was truncated, rewritten or made anew (1 dump,") {
		t.Error(out)
	}
	s.Exec(`truncate "Odd"."Stage ""1""*"`, "truncate cache", "drop table remade", "create table remade (n int)", "insert into kept values (2)", "analyze")
	dump(2)
	s.Exec(`vacuum full "Odd"."Stage ""1""*"`)
	dump(3)
	s.Exec(`alter table "Odd"."Stage ""1""*" alter n type bigint`, "vacuum kept", "reindex table kept")

	var report struct {
		Since struct {
			Dumps   int
			Changes []struct {
				Table                    string
				Rewritten, Remade, Spans int
				Lately                   bool
				First, Exclude           string
			}
		}
	}
	reader := strings.Replace(s.URL("postgres"), "postgres@", "reader@", 1)
	if err := json.Unmarshal([]byte(f.exits(0, []string{"pg", "locks", reader, "--json", "--since", dumps}).out), &report); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%+v", report.Since)
	want := `{Dumps:3 Changes:[` +
		`{Table:Odd.Stage "1"* Rewritten:3 Remade:0 Spans:3 Lately:true First:--first 'Odd.Stage "1"\*' Exclude:--exclude-table '"Odd"."Stage ""1""*"'} ` +
		`{Table:public.cache Rewritten:1 Remade:0 Spans:3 Lately:false First:--first public.cache Exclude:--exclude-table public.cache} ` +
		`{Table:public.remade Rewritten:0 Remade:1 Spans:3 Lately:false First:--first public.remade Exclude:--exclude-table public.remade}]}`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	out := f.exits(0, append(locks, "--since", filepath.Join(dumps, "3", "capstan-receipt.json"), "--since", filepath.Join(dumps, "1"))).out
	for _, want := range []string{"2 dumps", "truncated or rewritten", "2 of 2", "since the last dump", "made anew", "1 of 2"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	// The flags, through a shell.
	script := fmt.Sprintf(`"$0" pg dump '%s' -o '%s' --pg-dump '%s' %s --json`, s.URL("postgres"), filepath.Join(dumps, "out"), pgtest.Client(t, 17, "pg_dump"), report.Since.Changes[0].Exclude)
	capstan := f.command(t.Context(), "version")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script, capstan.Path)
	cmd.Env, cmd.Dir = capstan.Env, capstan.Dir
	if text, err := cmd.Output(); err != nil || strings.Contains(string(text), "Stage") || !strings.Contains(string(text), "public.cache") {
		t.Errorf("%v: %s", err, text)
	}

	f.exits(2, []string{"pg", "locks", s.URL("other"), "--since", dumps}, "is of the database postgres")
	f.exits(2, append(locks, "--since", dumps, "--watch", "1s"), "--since")
	f.exits(10, append(locks, "--since", filepath.Join(dumps, "nowhere")), "nowhere")
	f.exits(10, append(locks, "--since", t.TempDir()), "capstan-receipt.json")
	damaged := filepath.Join(t.TempDir(), "receipt")
	if err := os.WriteFile(damaged, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.exits(1, append(locks, "--since", damaged), "no receipt of a dump")
}
