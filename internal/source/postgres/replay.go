package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
)

// A standby replays what its primary did, also to tables that are being dumped: it then
// ends the dump's sessions. replay pauses that for as long as the dump reads.
//
// Nothing in the server ends a pause, so two sessions see to it, whatever becomes of
// this process: the holder has an advisory lock, and the keeper is in one statement
// that waits for that lock and then lets the replay go on. Should this process be
// killed, the server ends the holder, which is idle; the keeper waits in the server,
// which does not look for its client, comes by the lock, and does its work.
type replay struct {
	d      *dump
	own    sessions // holder and keeper alone: ending them otherwise would be too early
	holder *pgconn.PgConn
	kept   chan error // how the keeper's statement has ended; nil: there is none
	since  time.Time
	paused time.Duration // by earlier attempts
}

const (
	// The advisory lock: two numbers that nobody else should use ("caps", "tan").
	replayLock = "1667330163, 7627118"
	// replayPatience is how long a pause may take to begin while the dump has locks on
	// all tables: the replay may itself wait for one of them.
	replayPatience = 5 * time.Second
	// resumePatience is how long letting it go on may take.
	resumePatience = 10 * time.Second
	replayMajor    = 14 // since it says whether the pause has begun
	codeNoRecovery = "55000"
)

// errReplayBusy reports that the replay does not come to a rest: it may wait for a
// table that the dump has locked.
var errReplayBusy = errors.New("the replay did not pause")

// preparePause checks that the replay can be paused, and by this role.
func (d *dump) preparePause(ctx context.Context) error {
	if !d.options.PauseReplay {
		return nil
	}
	wrong := func(why, next string) error {
		return &capstan.Error{Class: capstan.ErrUsage, Op: "pause the replay of", Object: d.database, Err: errors.New(why), Safe: "nothing was changed", Next: next}
	}
	if !d.standby {
		return wrong("the server is not a standby", "dump without --pause-replay")
	}
	if d.server.Major < replayMajor {
		return wrong(fmt.Sprintf("servers before %d do not say when a pause has begun", replayMajor), "dump without --pause-replay")
	}
	rows, err := d.monitor.texts(ctx, `select string_agg(f, ', ') from unnest(array['pg_catalog.pg_wal_replay_pause()', 'pg_catalog.pg_wal_replay_resume()']) f
		where not has_function_privilege(f, 'execute')`)
	if err != nil {
		return err
	}
	if missing := rows[0][0]; missing != "" {
		return wrong("the role may not execute "+missing, "on the primary: GRANT EXECUTE ON FUNCTION pg_wal_replay_pause(), pg_wal_replay_resume() TO "+d.user)
	}
	d.replay = &replay{d: d}
	return nil
}

// pause lets the replay pause, with all tables locked and no snapshot taken yet. The
// error is errReplayBusy where that should be tried again without the locks.
func (r *replay) pause(ctx context.Context) (err error) {
	if r == nil {
		return nil
	}
	r.own.endpoint = r.d.endpoint
	if r.holder, _, err = r.d.connect(ctx, &r.own); err != nil {
		return err
	}
	// A machine that is gone says no goodbye: the server is to notice within a minute.
	const lively = "SELECT set_config(name, case name when 'tcp_keepalives_count' then '3' else '15' end, false) FROM pg_settings WHERE name IN ('tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count')"
	if err := exec(ctx, r.holder, lively); err != nil {
		return err
	}
	state, err := text(ctx, r.holder, "SELECT pg_get_wal_replay_pause_state()")
	if err != nil {
		return err
	}
	if err := r.alone(ctx); err != nil {
		return err
	}
	if state != "not paused" {
		r.d.env.Say("the replay is paused already, and is left so")
		return r.settled(ctx)
	}
	if err := r.keep(ctx); err != nil {
		return err
	}
	r.since = time.Now()
	if err := exec(ctx, r.holder, "SELECT pg_wal_replay_pause()"); err != nil {
		return err
	}
	if err := r.settled(ctx); err != nil {
		return err
	}
	r.d.env.Say("the replay of the standby is paused until the dump has read everything")
	return nil
}

// alone takes the lock, and refuses to pause beside another dump of the same server,
// which would let the replay go on when it has ended. Advisory locks are of one database;
// all of them are seen from each.
func (r *replay) alone(ctx context.Context) error {
	rows, err := texts(ctx, r.holder, "SELECT pg_try_advisory_lock("+replayLock+"), (SELECT min(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND (classid, objid) = ("+replayLock+") AND pid <> pg_backend_pid())")
	if err != nil {
		return err
	}
	if rows[0][0] == "t" && rows[0][1] == "" {
		return nil
	}
	return &capstan.Error{
		Class: capstan.ErrLocked, Op: "pause the replay of", Object: r.d.database, Err: fmt.Errorf("another dump has paused it (server process %s)", rows[0][1]),
		Safe: "nothing was changed", Next: "dump one database after the other",
	}
}

// keep starts the keeper, and waits until the server has its statement.
func (r *replay) keep(ctx context.Context) error {
	crew := &sessions{endpoint: r.d.endpoint}
	keeper, err := crew.connect(ctx)
	if err != nil {
		return err
	}
	quit := func() { crew.end(context.WithoutCancel(ctx), true) }
	answering, over := r.limit(ctx)
	defer over()
	// It waits as long as it takes, and does not look for its client.
	const deaf = "; SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('client_connection_check_interval', 'lock_timeout'); SELECT pg_backend_pid()"
	rows, err := texts(answering, keeper, quiet+deaf)
	if err != nil {
		quit()
		return err
	}
	kept := make(chan error, 1)
	r.kept = kept
	// Not with ctx: the driver would cancel the statement at the server.
	ctxOfKeeper := context.WithoutCancel(ctx)
	go func() {
		kept <- exec(ctxOfKeeper, keeper, "WITH waited AS MATERIALIZED (SELECT pg_advisory_lock("+replayLock+")) SELECT pg_wal_replay_resume() FROM waited")
		crew.end(ctxOfKeeper, false)
	}()
	return r.eventually(ctx, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid = "+rows[0][0])
}

// settled waits until nothing is replayed any more. A promotion ends a pause.
func (r *replay) settled(ctx context.Context) error {
	return r.eventually(ctx, "SELECT NOT pg_is_in_recovery() OR pg_get_wal_replay_pause_state() = 'paused'")
}

// eventually asks until the answer is yes.
func (r *replay) eventually(ctx context.Context, question string) error {
	const often = 10 * time.Millisecond
	deadline := time.Now().Add(replayPatience)
	for {
		answer, err := text(ctx, r.holder, question)
		if err != nil || answer == "t" {
			return err
		}
		if time.Now().After(deadline) {
			return errReplayBusy
		}
		if err := sleep(ctx, often); err != nil {
			return err
		}
	}
}

// limit is for what must not be left undone because the work was cancelled.
func (r *replay) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), resumePatience)
}

// resume lets the replay go on, if it was paused here, and ends both sessions. It may
// be called at any time, and with a context that is over.
func (r *replay) resume(ctx context.Context) {
	if r == nil {
		return
	}
	ctx, over := r.limit(ctx)
	defer over()
	defer r.own.end(ctx, false)
	if r.kept == nil {
		return
	}
	_ = exec(ctx, r.holder, "SELECT pg_advisory_unlock("+replayLock+")") // else its session has ended, and the lock with it
	var err error
	select {
	case err = <-r.kept:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	r.kept = nil
	if err != nil && code(err) != codeNoRecovery { // it was promoted
		err = exec(ctx, r.holder, "SELECT pg_wal_replay_resume()")
	}
	if err != nil && code(err) != codeNoRecovery {
		r.d.env.Warn("the replay may still be paused (%v); on the standby: SELECT pg_wal_replay_resume()", err)
	}
	if !r.since.IsZero() {
		r.paused += time.Since(r.since)
		r.since = time.Time{}
	}
}

// seconds is how long the replay was paused, over all attempts.
func (r *replay) seconds() float64 {
	if r == nil {
		return 0
	}
	return r.paused.Seconds()
}
