package pg

import (
	"fmt"
	"strings"
	"testing"
)

func TestRoleOf(t *testing.T) {
	t.Parallel()
	const evil = "walsender: x y: checkpointer"
	tests := []struct {
		line, cluster string
		want          Role
	}{
		{"postgres: checkpointer \x00\x00", "", RoleCheckpointer},
		{"postgres: checkpointer performing shutdown checkpoint", "", RoleCheckpointer},
		{"postgres: archiver", "", RoleArchiver},
		{"postgres: archiver archiving 000000010000000000000005", "", RoleArchiver},
		{"postgres: archiver last was 000000010000000000000005.00000028.backup", "", RoleArchiver},
		{"postgres: archiver failed on 00000002.history", "", RoleArchiver},
		{"postgres: startup recovering 000000010000000000000001 waiting", "", RoleStartup},
		{"postgres: startup ", "", RoleStartup},
		{"postgres: walsender postgres [local] idle", "", RoleWalsender},
		{"postgres: walsender rep db 10.0.0.1(53422) START_REPLICATION", "", RoleWalsender},
		{"postgres: postgres postgres [local] SELECT", "", RoleBackend},
		{"postgres: io worker 0", "", RoleAuxiliary},
		{"postgres: logical replication apply worker for subscription 16391", "", RoleWorker},
		{"postgres: slotsync worker", "", RoleWorker},
		{"postgres: my extension's worker", "", RoleUnknown},
		{"", "", RoleExiting},
		{"\x00\x00", evil, RoleExiting},
		{"/usr/lib/postgresql/15/bin/postgres\x00-D\x00/data", "", RoleUnknown}, // it was just forked
		// Users that are called like roles have an address.
		{"postgres: checkpointer app [local] idle", "", RoleBackend},
		{"postgres: archiver app 127.0.0.1(4711) SELECT", "", RoleBackend},
		{"postgres: startup app ::1(4711) idle in transaction", "", RoleBackend},
		{"postgres: background writer [local] idle", "", RoleBackend},
		{"postgres: x y: checkpointer app [local] idle", "", RoleBackend},
		// The cluster's name is a prefix of any form, taken off once.
		{"postgres: main: checkpointer", "main", RoleCheckpointer},
		{"postgres: main: checkpointer", "", RoleUnknown},
		{"postgres: checkpointer", "main", RoleUnknown},
		{"postgres: checkpointer: archiver", "checkpointer", RoleArchiver},
		{"postgres: checkpointer: archiver", "", RoleUnknown},
		{"postgres: " + evil + ": walwriter", evil, RoleAuxiliary},
		{"postgres: " + evil + ": checkpointer", evil, RoleCheckpointer},
		{"postgres: " + evil + ": archiver", evil, RoleArchiver},
		{"postgres: a: a: archiver", "a", RoleUnknown},
		{"postgres: main:", "main", RoleUnknown},
	}
	for _, test := range tests {
		if got := RoleOf(test.line, test.cluster); got != test.want {
			t.Errorf("%q in cluster %q: %s, want %s", test.line, test.cluster, got, test.want)
		}
	}
	// With the name not known, a title that imitates a role must not get that role's signal.
	if got := RoleOf("postgres: "+evil+": walwriter", ""); got == RoleCheckpointer || got == RoleArchiver {
		t.Errorf("imitation: %s", got)
	}
}

func FuzzRoleOf(f *testing.F) {
	f.Add("postgres: main: archiver", "main")
	f.Fuzz(func(t *testing.T, line, cluster string) {
		if RoleOf(line, cluster) == "" {
			t.Error("no role")
		}
		// A backend is never taken for one of the server's own processes, whatever its user and database are called.
		switch got := RoleOf("postgres: "+line+" "+cluster+" 127.0.0.1(5) idle", ""); got {
		case RoleBackend, RoleWalsender:
		case RoleUnknown, RoleExiting, RoleAuxiliary, RoleWorker, RoleCheckpointer, RoleArchiver, RoleStartup:
			t.Errorf("%q %q: %s", line, cluster, got)
		}
	})
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	const rest = " S 1 4711 4711 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 1000 200"
	for _, name := range []string{"postgres", "a) S 9 9 9 9", "((", ""} {
		p, err := parseStat([]byte("4711 (" + name + ")" + rest))
		if err != nil || p.PID != 4711 || p.PPID != 1 || p.Session != 4711 || p.Terminal || p.Dead || p.Start != 123456 {
			t.Errorf("%q: %+v, %v", name, p, err)
		}
	}
	if p, err := parseStat([]byte("1 (x) Z 0 1 1 34816 -1 0 0 0 0 0 0 0 0 0 0 0 0 0 5 0 0")); err != nil || !p.Dead || !p.Terminal {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 (x) S 1", "x (x)" + rest, ")("} {
		if p, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("4711 (postgres) S 1 4711 4711 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 1000 200"))
	f.Add([]byte("1 (a) Z 2 (b)) S -1 0 5 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 18446744073709551615"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseStat(data)
		if err != nil {
			return
		}
		state, tty := "S", 0
		if p.Dead {
			state = "Z"
		}
		if p.Terminal {
			tty = 1
		}
		line := fmt.Sprintf("%d (any) name)) %s %d 0 %d %d%s %d", p.PID, state, p.PPID, p.Session, tty, strings.Repeat(" 0", 14), p.Start)
		if again, err := parseStat([]byte(line)); err != nil || again != p {
			t.Fatalf("%q is %+v\n%q is %+v, %v", data, p, line, again, err)
		}
	})
}
