package pgserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/progress"
)

const (
	disableWait = 3 * time.Second       // for a walsender to end after its subscription was disabled
	askAgain    = 50 * time.Millisecond // between two questions whether it has
)

// prepare does what needs a server that still takes connections: consumers
// disabled, a role locked out, a checkpoint. What was changed before a failure is
// put back by Stop.
func (s *stopper) prepare(ctx context.Context) error {
	needed := len(s.options.Consumers) > 0 || s.options.LockRole != ""
	if !needed && s.options.NoCheckpoint {
		return nil
	}
	conn, err := s.cluster.Connect(ctx, s.server, s.options.URL)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil && needed {
		return err
	}
	if err != nil {
		s.env.Warn("no checkpoint before the stop: %v", err)
		return nil
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is left to be written
	if err := s.sameCluster(ctx, conn); err != nil {
		return err
	}
	for _, consumer := range s.options.Consumers {
		if err := s.disable(ctx, conn, consumer); err != nil {
			return err
		}
	}
	if s.options.LockRole != "" {
		if err := s.lockRole(ctx, conn); err != nil {
			return err
		}
	}
	if s.options.NoCheckpoint {
		return nil
	}
	return s.checkpoint(ctx, conn)
}

// sameCluster refuses a URL that leads to another cluster than PGDATA's.
func (s *stopper) sameCluster(ctx context.Context, conn *pgx.Conn) error {
	var id, dir string
	err := conn.QueryRow(ctx, "SELECT system_identifier::text, coalesce(current_setting('data_directory', true), '') FROM pg_control_system()").Scan(&id, &dir)
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok && refusal.Code == insufficientPrivilege {
		s.env.Warn("whether the URL leads to this cluster cannot be checked: %s", refusal.Message)
		return nil
	}
	if err != nil {
		return err
	}
	if id != s.summary.SystemID {
		return refused("stop", s.cluster.Dir, fmt.Errorf("the URL leads to another cluster, %s in %s", id, dir), "give the URL of this one")
	}
	return nil
}

// insufficientPrivilege is the SQLSTATE of what a role may not do.
const insufficientPrivilege = "42501"

// checkpoint makes the shutdown checkpoint short.
func (s *stopper) checkpoint(ctx context.Context, conn *pgx.Conn) error {
	s.env.Step("checkpoint")
	done := s.stage.Wait(progress.ForServer, "checkpoint before the stop")
	_, err := conn.Exec(ctx, "CHECKPOINT")
	done()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		s.env.Warn("no checkpoint before the stop: %v", err)
		return nil
	}
	s.act(ctx, "checkpoint")
	return nil
}

// lockRole keeps a role from logging in again.
func (s *stopper) lockRole(ctx context.Context, conn *pgx.Conn) error {
	role := s.options.LockRole
	var login, mine bool
	err := conn.QueryRow(ctx, "SELECT rolcanlogin, rolname IN (session_user, current_user) FROM pg_roles WHERE rolname = $1", role).Scan(&login, &mine)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return &capstan.Error{Class: capstan.ErrUsage, Op: "lock role", Object: role, Err: errors.New("there is no such role"), Safe: "nothing was touched"}
	case err != nil:
		return err
	case mine:
		return refused("lock role", role, errors.New("capstan is connected as this role and could not put it back"), "connect as another, with --url")
	case !login:
		s.env.Say("role %s may not log in already", role)
		return nil
	}
	kept, err := withoutPassword(s.options.URL)
	if err != nil {
		return err
	}
	s.env.Step("journal role")
	if err := s.journal.record(Change{Kind: ChangeRole, Object: role, Time: time.Now().UTC(), URL: kept}); err != nil {
		return err
	}
	s.env.Step("lock role")
	if _, err := conn.Exec(ctx, "ALTER ROLE "+pgx.Identifier{role}.Sanitize()+" NOLOGIN"); err != nil {
		return err
	}
	s.act(ctx, "role %s set NOLOGIN until the next start", role)
	return nil
}

// subscription is one of a subscriber that takes from this server.
type subscription struct {
	name, slot string
}

// disable disables the subscriptions of a subscriber whose slots are ours.
func (s *stopper) disable(ctx context.Context, conn *pgx.Conn, consumer string) error {
	kept, err := withoutPassword(consumer)
	if err != nil {
		return err
	}
	subscriber, err := pg.Connect(ctx, consumer)
	if err != nil {
		return err
	}
	defer subscriber.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is left to be written
	if _, err := subscriber.Exec(ctx, "SET lock_timeout = '5s'"); err != nil {
		return err
	}
	ours, err := s.subscriptions(ctx, conn, subscriber)
	if err != nil {
		return err
	}
	if len(ours) == 0 {
		s.env.Warn("%s has no enabled subscription with a slot of this server", kept)
	}
	for _, one := range ours {
		s.env.Step("journal subscription")
		if err := s.journal.record(Change{Kind: ChangeSubscription, Object: one.name, Time: time.Now().UTC(), URL: kept}); err != nil {
			return err
		}
		s.env.Step("disable subscription")
		if _, err := subscriber.Exec(ctx, "ALTER SUBSCRIPTION "+pgx.Identifier{one.name}.Sanitize()+" DISABLE"); err != nil {
			return fmt.Errorf("disable subscription %s: %w", one.name, err)
		}
		s.act(ctx, "subscription %s disabled on %s", one.name, kept)
		if err := s.endWorker(ctx, conn, subscriber, one); err != nil {
			return err
		}
	}
	return nil
}

// subscriptions are the enabled ones of a subscriber's database whose slots are in use
// on the server that is stopped.
func (s *stopper) subscriptions(ctx context.Context, conn, subscriber *pgx.Conn) ([]subscription, error) {
	rows, err := conn.Query(ctx, "SELECT slot_name::text FROM pg_replication_slots WHERE slot_type = 'logical'")
	if err != nil {
		return nil, err
	}
	slots, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	rows, err = subscriber.Query(ctx, `SELECT subname::text, subslotname::text FROM pg_subscription
		WHERE subenabled AND subslotname = ANY($1) AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
		ORDER BY 1`, slots)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (one subscription, err error) {
		err = row.Scan(&one.name, &one.slot)
		return one, err
	})
}

// endWorker sees to it that a disabled subscription is at rest. DISABLE can return
// and change nothing: an apply worker that waits for a lock does not look at it.
// Then the worker is terminated on the subscriber.
func (s *stopper) endWorker(ctx context.Context, conn, subscriber *pgx.Conn, one subscription) error {
	rests, err := s.rests(ctx, conn, one)
	if rests || err != nil {
		return err
	}
	var workers int
	err = subscriber.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_subscription WHERE subname = $1 AND pid IS NOT NULL`, one.name).Scan(&workers)
	if err != nil {
		return fmt.Errorf("terminate the apply worker of subscription %s: %w", one.name, err)
	}
	s.act(ctx, "subscription %s did not rest; %d workers terminated on the subscriber", one.name, workers)
	if rests, err = s.rests(ctx, conn, one); err == nil && !rests {
		s.env.Warn("subscription %s is disabled, but slot %s is still in use", one.name, one.slot)
	}
	return err
}

// rests waits a while for a slot to be out of use.
func (s *stopper) rests(ctx context.Context, conn *pgx.Conn, one subscription) (bool, error) {
	defer s.stage.Wait(progress.ForServer, "the walsender of slot "+one.slot+" to end")()
	deadline := time.NewTimer(disableWait)
	defer deadline.Stop()
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	for {
		var active bool
		err := conn.QueryRow(ctx, "SELECT coalesce(bool_or(active), false) FROM pg_replication_slots WHERE slot_name = $1", one.slot).Scan(&active)
		if err != nil || !active {
			return err == nil, err
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-deadline.C:
			return false, nil
		case <-tick.C:
		}
	}
}

// plan says what run would do, and does nothing.
func (s *stopper) plan(ctx context.Context) error {
	look, err := s.observer.Look(ctx)
	if err != nil {
		return err
	}
	verdict := look.Judge()
	s.enter(verdict)
	would := func(format string, args ...any) {
		s.summary.Actions = append(s.summary.Actions, fmt.Sprintf(format, args...))
	}
	if s.summary.Pending, err = Pending(ctx, s.env, s.cluster); err != nil {
		return err
	}
	switch verdict.Phase {
	case PhaseForeign, PhaseSingle, PhaseSync, PhaseCleanup, PhaseRecovery, PhaseStartingPre:
		return refused("stop", s.cluster.Dir, errors.New(verdict.Why), verdict.Safe)
	case PhaseClean, PhaseKilled:
		return nil
	case PhaseRunning:
		for _, consumer := range s.options.Consumers {
			kept, err := withoutPassword(consumer)
			if err != nil {
				return err
			}
			would("disable the subscriptions to this server on %s", kept)
		}
		if s.options.LockRole != "" {
			would("set role %s NOLOGIN until the next start", s.options.LockRole)
		}
		if !s.options.NoCheckpoint {
			would("checkpoint")
		}
	default: // it stops already
	}
	would("fast stop: SIGINT to the postmaster %d", look.Server.Process.PID)
	would("if a walsender blocks: %s; if archiving blocks: %s", s.options.Walsender, s.options.Archiver)
	return nil
}
