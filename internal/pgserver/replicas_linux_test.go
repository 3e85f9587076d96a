package pgserver

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"capstan/internal/capstantest/pgtest"
)

// pair is a publisher and a subscriber with a subscription between them, which
// logs in as the role sync.
type pair struct {
	*rig
	subscriber *rig
}

func newPair(t *testing.T, major int, conf ...string) *pair {
	t.Helper()
	p := &pair{newRig(t, major, append(conf, "wal_sender_timeout = 0")...), newRig(t, major)}
	p.Start()
	p.subscriber.Start()
	p.Exec("create role sync superuser login replication", "create table d (n int primary key)", "create publication p for table d")
	p.subscriber.Exec("create table d (n int primary key)",
		"create subscription sub connection '"+strings.Replace(p.DSN("postgres"), "user=postgres", "user=sync", 1)+"' publication p")
	p.Exec("insert into d select generate_series(1, 100)")
	p.arrives("100")
	return p
}

// arrives waits until so many rows are on the subscriber.
func (p *pair) arrives(rows string) {
	p.t.Helper()
	pgtest.Eventually(p.t, time.Minute, func() (bool, string) {
		n := p.subscriber.Text("select count(*) from d")
		return n == rows, n + " rows on the subscriber, want " + rows
	})
}

// held holds a lock that the apply worker needs, until release is called.
func (p *pair) held() (release func()) {
	p.t.Helper()
	conn := p.subscriber.Conn("postgres")
	tx, err := conn.Begin(p.t.Context())
	if err == nil {
		_, err = tx.Exec(p.t.Context(), "lock table d in access exclusive mode")
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(p.t.Context()); err != nil {
			p.t.Error(err)
		}
	}
}

// A subscription whose apply worker waits for a lock: DISABLE alone changes nothing.
// The stop disables it, ends the worker, locks the role out; afterwards all of it is
// put back and both sides have the same rows.
func TestConsumersAreDisabled(t *testing.T) {
	t.Parallel()
	for _, major := range []int{15, 18} {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			p := newPair(t, major)
			release := p.held()
			p.Exec("insert into d select generate_series(101, 200)")
			options := StopOptions{Consumers: []string{p.subscriber.URL("postgres")}, LockRole: "sync"}

			dry := options
			dry.DryRun = true
			summary, err := Stop(t.Context(), p.env(), p.cluster, dry)
			if err != nil || len(summary.Actions) != 5 || p.Text("select rolcanlogin from pg_roles where rolname = 'sync'") != "t" || p.subscriber.Text("select subenabled from pg_subscription") != "t" || len(p.audit) > 0 {
				t.Fatalf("dry run: %v, %+v", err, summary)
			}

			summary = p.stop(options) // with --walsender=wait: only the disabled consumer lets it end
			if len(summary.Pending) != 2 {
				t.Errorf("%+v", summary)
			}
			actions := strings.Join(p.audit, "\n")
			for _, want := range []string{"subscription sub disabled", "workers terminated", "role sync set NOLOGIN", "checkpoint", "fast stop", "stopped"} {
				if !strings.Contains(actions, want) {
					t.Errorf("no %q in the audit log:\n%s", want, actions)
				}
			}
			release()
			if left, err := Undo(t.Context(), p.env(), p.cluster, UndoOptions{}); err == nil || len(left) != 1 || left[0].Kind != ChangeRole {
				t.Errorf("without a server: %v, %v", left, err)
			}
			p.Start()
			if login := p.Text("select rolcanlogin from pg_roles where rolname = 'sync'"); login != "f" {
				t.Errorf("the role may log in: %s", login)
			}
			if left, err := Undo(t.Context(), p.env(), p.cluster, UndoOptions{}); err != nil || len(left) != 0 {
				t.Errorf("%v, %v", left, err)
			}
			if login := p.Text("select rolcanlogin from pg_roles where rolname = 'sync'"); login != "t" {
				t.Errorf("the role may log in: %s", login)
			}
			p.Exec("insert into d select generate_series(201, 300)")
			p.arrives("300")
			if pending, err := Pending(t.Context(), p.env(), p.cluster); err != nil || len(pending) > 0 {
				t.Errorf("%v, %v", pending, err)
			}
		})
	}
}

// What was changed for a stop that then cannot be done is put back at once.
func TestFailedPreparationIsUndone(t *testing.T) {
	t.Parallel()
	p := newPair(t, 17)
	nobody := "postgres://postgres@/postgres?host=" + t.TempDir()
	for name, options := range map[string]StopOptions{
		"no such role":     {Consumers: []string{p.subscriber.URL("postgres")}, LockRole: "nobody"},
		"own role":         {Consumers: []string{p.subscriber.URL("postgres")}, LockRole: "postgres"},
		"no such consumer": {Consumers: []string{p.subscriber.URL("postgres"), nobody}},
	} {
		summary, err := Stop(t.Context(), p.env(), p.cluster, options)
		if err == nil || summary.Status != NotBegun || len(summary.Pending) > 0 {
			t.Errorf("%s: %v, %+v", name, err, summary)
		}
	}
	if enabled := p.subscriber.Text("select subenabled from pg_subscription"); enabled != "t" {
		t.Errorf("the subscription is enabled: %s", enabled)
	}
	p.Exec("insert into d values (101)")
	p.arrives("101")
}
