package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgdata"
	"capstan/internal/pgslot"
	"capstan/internal/progress"
)

// StartOptions say how a server is started.
type StartOptions struct {
	Bin     string   // directory of the programs; empty: that of the last start, else where packages put them
	Options []string // of the server, as words: "-c", "port=5433"
	Log     string   // file that the server's output is appended to; empty: DefaultLog
	SyncFS  bool     // recovery_init_sync_method=syncfs for this start; 14 and later
	Timeout time.Duration
	DryRun  bool

	// Unstick moves the spill files of slots away first, and stops a start that is held
	// up by them.
	Unstick bool
	Where   pgslot.Where  // of the quarantine
	Least   int64         // a slot with fewer spill files is left as it is; 0: DefaultLeast
	Prove   time.Duration // how long to look for a proof that a start is held up; 0: DefaultProve

	ClusterName string // replaces what the configuration says; empty: asked for
	URL         string // of the server; empty: its socket, as PGDATA's owner
	Consumers   []string
}

// Defaults of a start.
const (
	DefaultLeast = 1000
	DefaultProve = 10 * time.Second
)

// DefaultLog is where a server's output goes that is started on a data directory.
func DefaultLog(pgdata string) string { return pgdata + ".capstan-start.log" }

// StartStatus is how a call of Start ended.
type StartStatus string

// The outcomes of a start.
const (
	Ready        StartStatus = "ready"
	Standby      StartStatus = "standby"         // takes read-only connections
	AlreadyReady StartStatus = "already running" // before this call
	Starting     StartStatus = "starting"        // it goes on without us
	NotStarted   StartStatus = "not started"
)

// StartSummary tells a start from its begin to its end.
type StartSummary struct {
	Type        string       `json:"type"` // "summary"
	Data        string       `json:"data"`
	Major       int          `json:"major"`
	Status      StartStatus  `json:"status"`
	PID         int          `json:"pid,omitempty"`
	Seconds     float64      `json:"seconds"`
	Phases      []PhaseTime  `json:"phases"`
	Quarantined []SlotResult `json:"quarantined"`
	Actions     []string     `json:"actions"` // what was done; with DryRun what would be done
	Pending     []Change     `json:"pending"` // settings that still have to be put back
	Log         string       `json:"log"`
	DryRun      bool         `json:"dry_run,omitempty"`
}

// SlotResult is what became of one slot that was quarantined.
type SlotResult struct {
	Slot       string      `json:"slot"`
	Path       string      `json:"path"` // where its spill files are now
	Step       pgslot.Step `json:"step"`
	RestartLSN pgdata.LSN  `json:"restart_lsn"`
	// Verified says that the server shows the slot once, and no further back than it
	// was; Active that its consumer is back already.
	Verified bool `json:"verified"`
	Active   bool `json:"active"`
}

// Start starts the cluster's server, or goes on with a start that is under way, and
// returns when the server takes connections, options.Timeout has passed or ctx has
// ended; the server goes on in the two latter cases. Afterwards it puts back what was
// changed for a stop. Killed at any moment, it is called again: it finishes what was
// begun, and a slot is whole at every moment. A server that runs already is only
// looked after.
func Start(ctx context.Context, env Env, cluster *pg.Cluster, options StartOptions) (summary StartSummary, err error) {
	env = env.filled()
	if err := options.check(cluster); err != nil {
		return StartSummary{}, err
	}
	if options.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, options.Timeout, errTimeout)
		defer cancel()
	}
	s := &starter{env: env, cluster: cluster, options: options, stage: env.Tracker.Stage("start")}
	s.stage.Begin()
	defer s.stage.End()
	began := time.Now()
	s.summary = StartSummary{
		Type: "summary", Data: cluster.Dir, Major: cluster.Major, Status: NotStarted, Phases: []PhaseTime{}, Quarantined: []SlotResult{},
		Actions: []string{}, Pending: []Change{}, Log: options.Log, DryRun: options.DryRun,
	}
	err = s.run(ctx)
	s.leave()
	s.summary.Seconds = time.Since(began).Seconds()
	return s.summary, err
}

// check completes the options and refuses what is none.
func (o *StartOptions) check(cluster *pg.Cluster) error {
	if o.Log == "" {
		o.Log = DefaultLog(cluster.Dir)
	}
	if o.Least <= 0 {
		o.Least = DefaultLeast
	}
	if o.Prove <= 0 {
		o.Prove = DefaultProve
	}
	usage := func(format string, args ...any) error {
		return &capstan.Error{Class: capstan.ErrUsage, Op: "start", Err: fmt.Errorf(format, args...)}
	}
	// Elsewhere no data directory can be opened in the first place.
	if me := os.Geteuid(); me != 0 && me != int(cluster.Owner.UID) {
		return refused("start", cluster.Dir, fmt.Errorf("it belongs to %s", cluster.OwnerName), "run this as "+cluster.OwnerName+" or as root")
	}
	switch {
	case o.Timeout < 0:
		return usage("--timeout=%s: it is not negative", o.Timeout)
	case o.SyncFS && cluster.Major < 14:
		return usage("--syncfs: PostgreSQL %d has no recovery_init_sync_method; 14 has", cluster.Major)
	}
	return nil
}

// starter is one start. One goroutine uses it.
type starter struct {
	env      Env
	cluster  *pg.Cluster
	options  StartOptions
	journal  *Journal
	observer *Observer
	place    *pgslot.Place
	records  []pgslot.Record // quarantines whose server has not come up since
	stage    *progress.Stage
	summary  StartSummary

	phase    Phase
	since    time.Time
	waitDone func()
	replay   replay
	logged   int64 // size of the log before the start

	spillSeen time.Time // when the startup process was last seen at a spill file
}

func (s *starter) run(ctx context.Context) (err error) {
	if s.journal, err = openJournal(ctx, s.env, s.cluster); err != nil {
		return err
	}
	defer func() {
		s.summary.Pending = append([]Change{}, s.journal.changes()...)
		err = errors.Join(err, s.journal.close())
	}()
	if s.observer, err = NewObserver(ctx, s.cluster, s.options.ClusterName); err != nil {
		return err
	}
	if s.place, err = Slots(ctx, s.env, s.cluster); err != nil {
		return err
	}
	look, err := s.observer.Look(ctx)
	if err != nil {
		return err
	}
	if s.options.DryRun {
		return s.plan(ctx, &look)
	}
	if err := s.startable(&look); err != nil {
		return err
	}
	release, err := s.settle(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	return s.bring(ctx, &look)
}

// startable refuses what is neither stopped nor starting nor running, before anything
// is touched.
func (s *starter) startable(look *Look) error {
	verdict := look.Judge()
	switch verdict.Phase {
	case PhaseRunning, PhaseClean, PhaseKilled, PhaseStartingPre, PhaseSync, PhaseCleanup, PhaseRecovery:
		return nil
	default:
		return refused("start", s.cluster.Dir, fmt.Errorf("%s: %s", verdict.Phase, verdict.Why), "see: capstan pg stop-status -D "+s.cluster.Dir)
	}
}

// bring brings the server up from where it is.
func (s *starter) bring(ctx context.Context, look *Look) error {
	switch look.Judge().Phase {
	case PhaseRunning:
		s.summary.Status, s.summary.PID = AlreadyReady, look.Server.Process.PID
		s.env.Say("the server runs already, process %d", look.Server.Process.PID)
		return s.finish(ctx, look.Server)
	case PhaseStartingPre, PhaseSync, PhaseCleanup, PhaseRecovery:
		if !s.options.Unstick {
			return s.watch(ctx, nil)
		}
		if through, err := s.interrupt(ctx); err != nil || through {
			if err == nil {
				err = s.watch(ctx, nil)
			}
			return err
		}
	default: // it is stopped
	}
	if s.options.Unstick {
		if err := s.quarantine(ctx); err != nil {
			return err
		}
	} else if look.Control.State != pgdata.StateShutDown {
		s.offer(ctx)
	}
	return s.launch(ctx)
}

// offer says what would make this start faster.
func (s *starter) offer(ctx context.Context) {
	if s.cluster.Major >= 14 && !s.options.SyncFS {
		s.env.Say("the server was not shut down: it syncs every file of its data directory first; --syncfs does that in one step")
	}
	slots, err := s.place.Slots()
	if err != nil {
		return // the start itself will say more
	}
	for _, slot := range slots {
		if n, err := s.place.Count(ctx, slot, s.options.Least); err == nil && n >= s.options.Least {
			s.env.Say("slot %s has %d spill files or more: --unstick moves them away first", slot, n)
		}
	}
}

// act notes something that was done.
func (s *starter) act(ctx context.Context, format string, args ...any) {
	s.summary.Actions = append(s.summary.Actions, fmt.Sprintf(format, args...))
	s.env.didAs(ctx, "pg start", s.cluster, format, args...)
}

// finish is what a running server is owed: quarantines are verified, and what was
// changed for a stop is put back.
func (s *starter) finish(ctx context.Context, server pg.Server) error {
	err := s.verify(ctx, server)
	if len(s.journal.changes()) > 0 {
		err = errors.Join(err, undo(ctx, s.env, s.cluster, s.journal, UndoOptions{URL: s.options.URL, Consumers: s.options.Consumers}))
	}
	if err != nil && ctx.Err() == nil {
		err = &capstan.Error{Class: capstan.ErrIncomplete, Op: "start", Object: s.cluster.Dir, Err: err, Safe: "the server is up"}
	}
	return err
}

// didAs tells people and the audit log what was done, as the command that did it. It
// is called after the act, and also when the act's context has ended since.
func (e Env) didAs(ctx context.Context, action string, cluster *pg.Cluster, format string, args ...any) {
	detail := fmt.Sprintf(format, args...)
	e.Say("%s", detail)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditPatience)
	defer cancel()
	if err := e.Audit(ctx, action, cluster.Dir, detail); err != nil {
		e.Warn("the audit log has no line of this: %v", err)
	}
}
