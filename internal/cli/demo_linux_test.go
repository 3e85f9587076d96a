package cli_test
import ("testing";"fmt";"capstan/internal/capstantest/pgtest")
func TestDemo(t *testing.T){
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 18, Conf: []string{"wal_level = logical", "wal_sender_timeout = 0","archive_mode=on","archive_command='sleep 1'"}})
	s.Start(); mute(t, s)
	s.Exec("create table b (n int)")
	for range 3 { s.Exec("insert into b values (1)", "select pg_switch_wal()") }
	for _, a := range [][]string{{"stop-check"},{"stop","--dry-run"},{"stop","--timeout","1s"},{"stop-status"},{"stop","--walsender=cut","--archiver=abort-command"},{"stop-status"}} {
		e := f.try(append(append([]string{"pg"},a...),"-D",s.Data)...)
		fmt.Printf("$ %v -> %d\n%s--stderr\n%s\n", a, e.code, e.out, e.err)
	}
}
