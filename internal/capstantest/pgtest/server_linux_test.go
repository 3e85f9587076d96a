package pgtest_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// Servers of every version start, answer, survive a crash and leave nothing.
func TestServers(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			s := pgtest.New(t, pgtest.Options{Memory: true, Major: major, TCP: major%2 == 0, Conf: []string{"wal_level = logical"}})
			s.Start()
			if version := s.Text("show server_version_num"); !strings.HasPrefix(version, fmt.Sprint(major)) {
				t.Errorf("version %s, want %d", version, major)
			}
			s.Exec("create table t (n int)", "insert into t select generate_series(1, 1000)")
			s.Crash()
			if err := syscall.Kill(s.PID(), 0); err == nil {
				t.Error("the server survived")
			}
			s.Start()
			if n := s.Text("select count(*) from t"); n != "1000" {
				t.Errorf("%s rows after the crash, want 1000", n)
			}
			s.Stop()
			if _, err := os.Stat(s.Data + "/postmaster.pid"); err == nil {
				t.Error("postmaster.pid is still there after a stop")
			}
		})
	}
}
