package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/pgproxy"
	"capstan/internal/progress"
)

// held is what a successful attempt leaves: every table locked by the guard, the
// snapshot, the workers in it with locks of their own, and pg_dump's directory.
type held struct {
	guard    *pgconn.PgConn
	guardPID uint32
	crew     *sessions // of guard and workers: those of one attempt
	tables   []*table
	snapshot string
	taken    time.Time // of the snapshot
	locked   time.Time // when the first lock was taken
	workers  []*worker
	loose    []*datum // of foreign tables, which nobody locks
	objects  []largeObject

	reading *errgroup.Group // of the workers, which begin before pg_dump has said what there is
	ctx     context.Context //nolint:containedctx // the workers': it ends when one of them fails, or with the attempt
	stop    context.CancelCauseFunc

	// known is closed when what follows is set, and tables have their copies.
	known  chan struct{}
	shares map[*table]*share
	left   []*table // which no worker has, or which are not read as was guessed
	*contents
}

// isKnown reports whether pg_dump has said what there is.
func (h *held) isKnown() bool {
	select {
	case <-h.known:
		return true
	default:
		return false
	}
}

// readingError says that reading has failed while pg_dump was still at work.
type readingError struct{ err error }

func (e *readingError) Error() string { return e.err.Error() }
func (e *readingError) Unwrap() error { return e.err }

const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// hold locks everything and learns what is to be dumped. Whenever somebody is in the
// way, all locks are let go, and it begins again: nobody ever waits for a dump that
// itself waits.
func (d *dump) hold(ctx context.Context) (*held, error) {
	stage := d.env.Tracker.Stage("lock")
	stage.Begin()
	defer stage.End()
	deadline := time.Now().Add(d.options.LockWait)
	var names []string
	for pause := firstPause; ; {
		d.attempts++
		h, err := d.attempt(ctx, names)
		if err == nil {
			return h, nil
		}
		d.clear()
		if failed, ok := errors.AsType[*readingError](err); ok {
			// The replay ends the guard's session and the workers' alike, whoever notices first.
			if err = d.conflicted(ctx, failed.err); code(err) != codeConflict && !errors.Is(err, errConflict) {
				return nil, err
			}
			d.conflictsBefore = d.conflicts(ctx)
		}
		missing, isMissing := errors.AsType[*missingError](err)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case time.Now().After(deadline) && (!isMissing || names != nil): // the first attempt only asks
			return nil, &capstan.Error{
				Op: "lock the tables of", Object: d.database, Err: fmt.Errorf("not within %s, in %d attempts: %w", d.options.LockWait, d.attempts, err),
				Safe: "nothing is locked any more", Next: "let the other session end, leave the table out with --exclude-table, or give more time with --lock-wait",
			}
		case isMissing:
			names = withExtra(missing.names, d.extra)
			continue // at once: nobody was in the way
		case !passing(err):
			return nil, err
		}
		if code(err) != codeLockTimeout {
			names, d.extra = nil, nil // something was dropped: ask again what there is
		}
		d.env.Warn("not all tables can be locked, all are let go and tried again: %s", capstan.Brief(err))
		done := stage.Wait(progress.ForLock, capstan.Brief(err))
		err = sleep(ctx, pause/2+rand.N(pause)) //nolint:gosec // a jitter is no secret
		done()
		if err != nil {
			return nil, err
		}
		pause = min(pause*2, lastPause)
	}
}

// withExtra adds what is not in the names yet.
func withExtra(names, extra []string) []string {
	all := slices.Clone(names)
	for _, name := range extra {
		if !slices.Contains(names, name) {
			all = append(all, name)
		}
	}
	return all
}

// passing reports whether an error may be gone the next time: a lock that somebody
// has, or an object that was dropped or made between two of our statements.
func passing(err error) bool {
	return errors.Is(err, errReplayBusy) || errors.Is(err, errConflict) || slices.Contains([]string{
		codeLockTimeout, codeDeadlock, codeNoTable, codeNoSchema, codeInternal, codeNoObject, codeNoFunction, codeConflict,
	}, code(err))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// attempt tries once, with the tables that the last attempt saw; nil: none has.
func (d *dump) attempt(ctx context.Context, names []string) (_ *held, err error) {
	h := &held{crew: d.sessions(), shares: map[*table]*share{}, known: make(chan struct{}), contents: &contents{}}
	stoppable, stop := context.WithCancelCause(ctx)
	h.stop = stop
	reading, readingCtx := errgroup.WithContext(stoppable)
	h.reading, h.ctx = reading, readingCtx
	defer func() {
		if err != nil {
			h.stop(err)
			_ = h.reading.Wait() // it was stopped, or is the reason already
			h.crew.end(context.WithoutCancel(ctx), true)
			d.replay.resume(ctx)
		}
	}()
	if h.guard, h.guardPID, err = d.connect(ctx, h.crew); err != nil {
		return nil, err
	}
	if names == nil {
		dir, err := d.directory.Fresh()
		if err != nil {
			return nil, err
		}
		seen, err := d.scout(ctx, h.guard, dir)
		if len(seen.Locks) > 0 {
			return nil, &missingError{names: seen.Locks}
		}
		if err != nil {
			return nil, err
		}
		// There are no tables, and pg_dump went to its end in this session.
		if err := exec(ctx, h.guard, "ROLLBACK; DEALLOCATE ALL"); err != nil {
			return nil, err
		}
	}
	if err := d.guardTables(ctx, h, names); err != nil {
		return nil, err
	}
	if err := d.muster(ctx, h); err != nil {
		return nil, err
	}
	dir, err := d.directory.Fresh()
	if err != nil {
		return nil, err
	}
	for _, w := range h.workers {
		h.reading.Go(func() error { return d.work(readingCtx, h, w) })
	}
	err = d.learn(readingCtx, h, dir)
	if err == nil {
		err = d.divide(h)
	}
	if readingCtx.Err() != nil && ctx.Err() == nil {
		return nil, &readingError{err: context.Cause(readingCtx)}
	}
	return h, err
}

// guardTables locks the tables, then takes the snapshot: in this order nothing that
// it sees can be taken away by a statement that is not MVCC-safe.
func (d *dump) guardTables(ctx context.Context, h *held, names []string) error {
	if err := d.monitor.askRoom(ctx, len(names)); err != nil {
		return err
	}
	if err := exec(ctx, h.guard, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "+timeoutStatement(d.options.LockTimeout)); err != nil {
		return err
	}
	h.locked = time.Now()
	for batch := range slices.Chunk(names, lockBatch) {
		if err := d.lockBatch(ctx, h, batch); err != nil {
			return err
		}
	}
	if err := d.replay.pause(ctx); err != nil {
		return err
	}
	var err error
	if h.snapshot, err = text(ctx, h.guard, "SELECT pg_catalog.pg_export_snapshot()"); err != nil {
		return err
	}
	h.taken = time.Now()
	h.tables, err = describe(ctx, h.guard, names)
	return err
}

// lockBatch is how many tables one statement locks.
const lockBatch = 200

// lockBatch locks some tables in the guard. While that takes long, it is asked who is
// in the way; afterwards nobody could tell.
func (d *dump) lockBatch(ctx context.Context, h *held, names []string) error {
	locked := make(chan error, 1)
	go func() { locked <- exec(ctx, h.guard, lockStatement(names...)) }()
	timer := time.NewTimer(d.options.LockTimeout * 3 / 5)
	defer timer.Stop()
	var blockers string
	for {
		select {
		case err := <-locked:
			if blockers == "" && code(err) == codeLockTimeout { // the look came too late
				blockers, _ = d.monitor.holders(ctx, names)
			}
			if err != nil && blockers != "" {
				err = fmt.Errorf("%s: %w", blockers, err)
			}
			if code(err) == codeNoPrivilege {
				err = failure("lock", "a table", err)
			}
			return err
		case <-timer.C:
			// A look that fails takes nothing but the name out of the message.
			blockers, _ = d.monitor.blockers(ctx, h.guardPID)
		}
	}
}

// learn lends the guard's session to pg_dump, and takes what it wrote apart.
func (d *dump) learn(ctx context.Context, h *held, dir string) error {
	known := map[string]*table{}
	for _, t := range h.tables {
		known[t.quoted] = t
	}
	admit := func(locks []string) error {
		for _, name := range locks {
			if known[name] == nil {
				return &missingError{names: locks}
			}
		}
		return nil
	}
	copying := func(first pgproxy.Copy) (err error) {
		h.contents, err = d.deduce(dir, h.tables, first)
		if errors.Is(err, errUnsure) || err == nil && len(h.large) > 0 { // which ones there are, is listed at the end
			return nil
		}
		return cmp.Or(err, errLearnt)
	}
	seen, err := d.runPgDump(ctx, pgproxy.Session{Conn: h.guard, Lent: true, Admit: admit, Copying: copying}, dir)
	switch {
	case errors.Is(err, errLearnt):
		// The file that pg_dump had begun would be taken for the table's.
		if err := d.directory.clear(dir, tocName); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if h.contents, err = d.told(dir, seen.Copies); err != nil {
			return err
		}
	}
	if !slices.Equal(seen.Settings, d.settings) {
		return fmt.Errorf("pg_dump sets its session up in another way than a moment ago: %q, not %q", seen.Settings, d.settings)
	}
	if err := d.join(ctx, h, known); err != nil {
		return err
	}
	h.objects, err = d.listLarge(h.contents)
	return err
}

// join finds the table of each data file. pg_dump also reads what it does not lock:
// tables of extensions, which are then locked in the next attempt, and foreign tables,
// which cannot be.
func (d *dump) join(ctx context.Context, h *held, known map[string]*table) error {
	var unknown []string
	for _, c := range h.data {
		if t := known[c.Table]; t != nil {
			t.copies = append(t.copies, c)
		} else {
			unknown = append(unknown, c.Table)
			h.loose = append(h.loose, c)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	foreign, err := unlockable(ctx, h.guard, unknown)
	if err != nil {
		return err
	}
	if unknown = slices.DeleteFunc(unknown, func(name string) bool { return foreign[name] }); len(unknown) == 0 {
		return nil
	}
	d.extra = unknown
	var all []string
	for name := range known {
		all = append(all, name)
	}
	return &missingError{names: all}
}
