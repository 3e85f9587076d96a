package cli_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// A dump that is killed, or whose machine stops answering, while it has paused a
// standby's replay leaves nobody behind who would have to know: the server itself lets
// the replay go on.
func TestPgPauseKilled(t *testing.T) {
	t.Parallel()
	f := newField(t)
	primary := pgtest.New(t, pgtest.Options{Major: 17, Memory: true})
	primary.Start()
	standby := pgtest.NewStandby(primary, pgtest.Options{Major: 17, Memory: true})
	primary.Exec("create table t (n int)", "insert into t values (1)")
	standby.Follow(primary)
	// The first pg_dump says which tables there are; the second comes when the replay is
	// paused, and hangs.
	script, first, second := filepath.Join(f.dir, "pg_dump.sh"), filepath.Join(f.dir, "first"), filepath.Join(f.dir, "second")
	text := "#!/bin/sh\n[ \"$1\" = --version ] || { [ -e '" + first + "' ] && : >'" + second + "' && exec sleep 3600; : >'" + first + "'; }\nexec '" + pgtest.Client(t, 17, "pg_dump") + "' \"$@\"\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "dump")
	p := f.start("pg", "dump", standby.URL("postgres"), "-o", dir, "--pause-replay", "--pg-dump", script)
	state := func(want string) func() (bool, string) {
		return func() (bool, string) {
			got := standby.Text("select pg_get_wal_replay_pause_state()")
			return got == want, "the replay is " + got + "\n" + p.err.String()
		}
	}
	pgtest.Eventually(t, verdict, func() (bool, string) {
		_, err := os.Stat(second)
		return err == nil, "the second pg_dump was not started\n" + p.err.String()
	})
	if ok, why := state("paused")(); !ok {
		t.Fatal(why)
	}
	primary.Exec("insert into t values (2)")
	p.signal(syscall.SIGKILL)
	p.end()
	pgtest.Eventually(t, verdict, state("not paused"))
	standby.Follow(primary)
	pgtest.Eventually(t, verdict, func() (bool, string) {
		return standby.Text("select count(*) from pg_stat_activity where application_name = 'capstan'") == "0", "its sessions end"
	})
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	f.exits(0, []string{"pg", "dump", standby.URL("postgres"), "-o", dir, "--pause-replay", "--pg-dump", pgtest.Client(t, 17, "pg_dump")}, "paused until")
}
