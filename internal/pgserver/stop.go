package pgserver

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgdata"
	"capstan/internal/progress"
)

// StopStatus is how a call of Stop ended.
type StopStatus string

// The outcomes of a stop.
const (
	Stopped  StopStatus = "stopped"  // the process is gone, pg_control is clean, no archive command works on
	Stopping StopStatus = "stopping" // it goes on without us: the timeout passed or we were interrupted
	NotClean StopStatus = "not clean"
	NotBegun StopStatus = "not begun" // nothing was done, or everything was put back
)

// StopSummary tells a stop from its begin to its end.
type StopSummary struct {
	Type     string      `json:"type"` // "summary"
	Data     string      `json:"data"`
	SystemID string      `json:"system_id"`
	Major    int         `json:"major"`
	Status   StopStatus  `json:"status"`
	State    string      `json:"state"` // in the words of pg_controldata
	Seconds  float64     `json:"seconds"`
	Phases   []PhaseTime `json:"phases"`
	Actions  []string    `json:"actions"` // what was done; with DryRun what would be done
	DryRun   bool        `json:"dry_run,omitempty"`
	Pending  []Change    `json:"pending"` // what the next start, or Undo, has to put back
}

// PhaseTime is how long a phase lasted, and who held it up.
type PhaseTime struct {
	Phase   Phase   `json:"phase"`
	Why     string  `json:"why"`
	Seconds float64 `json:"seconds"`
}

// lastLook bounds the look at a server for what is told when the time is over.
const lastLook = 5 * time.Second

// errTimeout is the cause of leaving a stop whose time is over.
var errTimeout = errors.New("the timeout has passed")

const (
	lookEvery    = 50 * time.Millisecond // between two looks; more where a look takes long
	undoTime     = 30 * time.Second      // for putting back what was changed when a stop is left
	restateAfter = 5 * time.Second       // for a fast stop that had no effect
)

// Stop stops the cluster's server and returns when it has stopped, options.Timeout
// has passed or ctx has ended. Before the server was told to stop, a failure puts
// back everything that was changed; afterwards what cannot be put back without a
// server stays in the journal and in the summary's Pending. Called on a server that
// is stopping already, it goes on from there; on one that has stopped, it says so.
func Stop(ctx context.Context, env Env, cluster *pg.Cluster, options StopOptions) (summary StopSummary, err error) {
	if err := options.check(); err != nil {
		return StopSummary{}, err
	}
	env = env.filled()
	if options.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, options.Timeout, errTimeout)
		defer cancel()
	}
	s := &stopper{env: env, cluster: cluster, options: options, pressed: map[identity]*pressure{}}
	s.stage = env.Tracker.Stage("stop")
	s.stage.Begin()
	defer s.stage.End()
	began := time.Now()
	control, err := cluster.Control(ctx)
	if err != nil {
		return StopSummary{}, s.notLooked(ctx, err)
	}
	s.summary = StopSummary{
		Type: "summary", Data: cluster.Dir, SystemID: fmt.Sprint(control.SystemID), Major: cluster.Major, Status: NotBegun,
		Phases: []PhaseTime{}, Actions: []string{}, Pending: []Change{}, DryRun: options.DryRun,
	}
	if s.observer, err = NewObserver(ctx, cluster, options.ClusterName); err != nil {
		return s.summary, s.notLooked(ctx, err)
	}
	if options.DryRun {
		err = s.plan(ctx)
	} else {
		err = s.run(ctx)
	}
	if !s.told && s.summary.Status == NotBegun {
		err = s.notBegun(ctx, err)
	}
	s.leave()
	s.summary.Seconds = time.Since(began).Seconds()
	if control, controlErr := cluster.Control(context.WithoutCancel(ctx)); controlErr == nil {
		s.summary.State = control.State.String()
	}
	return s.summary, err
}

// notLooked is notBegun for what failed before the server was looked at; what that means,
// and what to do, is about other reasons than the time.
func (s *stopper) notLooked(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errTimeout) {
		err = errTimeout
	}
	return s.notBegun(ctx, err)
}

// notBegun gives an error of before the server was told to stop; it says so where the
// time was over by then.
func (s *stopper) notBegun(ctx context.Context, err error) error {
	if err == nil || !errors.Is(context.Cause(ctx), errTimeout) {
		return err
	}
	return &capstan.Error{
		Op: "stop", Object: s.cluster.Dir, Err: fmt.Errorf("not begun within %s: %w", s.options.Timeout, err),
		Safe: "the server was not told to stop, and what was changed for it was put back", Next: "capstan pg stop-check -D " + s.cluster.Dir,
	}
}

// stopper is one stop. One goroutine uses it.
type stopper struct {
	env      Env
	cluster  *pg.Cluster
	observer *Observer
	options  StopOptions
	journal  *Journal
	stage    *progress.Stage
	summary  StopSummary

	told    bool // the server was told to stop, by us
	toldAt  time.Time
	server  pg.Server // that is being stopped
	pressed map[identity]*pressure
	paused  bool // archive_command was emptied, or that failed
	broken  bool // it failed

	verdict  Verdict // of the present phase
	since    time.Time
	next     string // what comes next in it
	waitDone func()
}

// run does the stop under the cluster's journal.
func (s *stopper) run(ctx context.Context) (err error) {
	if s.journal, err = openJournal(ctx, s.env, s.cluster); err != nil {
		return err
	}
	defer func() {
		s.summary.Pending = append([]Change{}, s.journal.changes()...)
		err = errors.Join(err, s.journal.close())
	}()
	defer func() { err = errors.Join(err, s.putBack(ctx)) }()
	look, err := s.observer.Look(ctx)
	if err != nil {
		return err
	}
	// Of a call that was killed: archive_command is needed only while the archiver
	// is being paused, which this call does anew.
	if err := s.undoArchive(ctx); err != nil {
		return err
	}
	s.server = look.Server
	verdict := look.Judge()
	switch verdict.Phase {
	case PhaseForeign, PhaseSingle:
		return refused("stop", s.cluster.Dir, errors.New(verdict.Why), verdict.Safe)
	case PhaseStartingPre, PhaseSync, PhaseCleanup, PhaseRecovery:
		if look.Server.File.Status != pgdata.StatusStopping {
			return refused("stop", s.cluster.Dir, errors.New(verdict.Why), "wait for the start to be through, or see: capstan pg start --unstick")
		}
	case PhaseClean, PhaseKilled, PhaseOrphans:
	case PhaseRunning:
		if err := s.prepare(ctx); err != nil {
			return err
		}
		if err := s.fast(ctx); err != nil {
			return err
		}
	default:
		if len(s.options.Consumers) > 0 || s.options.LockRole != "" {
			s.env.Warn("the server is stopping already and takes no connections: no consumer was disabled and no role locked")
		}
		if err := s.fast(ctx); err != nil {
			return err
		}
	}
	return s.watch(ctx)
}

// fast tells the postmaster to stop fast. One that does so already does not mind;
// one in a smart stop hurries up.
func (s *stopper) fast(ctx context.Context) error {
	s.env.Step("fast stop")
	err := s.cluster.Signal(s.server.Process, syscall.SIGINT, func(pg.Process) error {
		now, err := s.cluster.Server()
		if err == nil && (now.Presence != pg.Alive || now.Process.PID != s.server.Process.PID) {
			err = errors.New("postmaster.pid names another process by now")
		}
		return err
	})
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !s.told {
		s.act(ctx, "fast stop: SIGINT to the postmaster %d", s.server.Process.PID)
	}
	s.told, s.toldAt = true, time.Now()
	return nil
}

// watch looks at the server until it is gone, and acts upon what holds it up.
func (s *stopper) watch(ctx context.Context) error {
	s.summary.Status = Stopping
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.left(ctx)
		case <-timer.C:
		}
		began := time.Now()
		look, err := s.observer.Look(ctx)
		if ctx.Err() != nil {
			return s.left(ctx)
		}
		if err != nil {
			return err
		}
		verdict := look.Judge()
		s.enter(verdict)
		switch verdict.Phase {
		case PhaseClean:
			return s.stopped(ctx)
		case PhaseKilled:
			s.summary.Status = NotClean
			return &capstan.Error{
				Op: "stop", Object: s.cluster.Dir, Err: errors.New(verdict.Why), Safe: "what was committed is in the WAL", Next: "capstan pg start -D " + s.cluster.Dir,
			}
		case PhaseForeign:
			return refused("stop", s.cluster.Dir, errors.New(verdict.Why), verdict.Safe)
		default:
			if look.Server.Presence == pg.Alive && look.Server.Process.Start != s.server.Process.Start {
				return &capstan.Error{
					Op: "stop", Object: s.cluster.Dir, Err: fmt.Errorf("a new server, process %d, was started meanwhile", look.Server.Process.PID),
					Next: "find out what starts it (systemd, a cluster manager) and stop it there",
				}
			}
		}
		if err := s.press(ctx, &look, verdict); err != nil {
			return err
		}
		timer.Reset(max(lookEvery, 4*time.Since(began))) // at most a fifth of one processor
	}
}

// stopped is the end of a stop that succeeded.
func (s *stopper) stopped(ctx context.Context) error {
	if s.server.Presence == pg.Alive { // its pid file goes a moment before it does
		if err := s.cluster.Gone(ctx, s.server.Process, lookEvery); err != nil {
			return s.left(ctx)
		}
	}
	s.summary.Status = Stopped
	s.env.Step("stopped")
	if s.told {
		s.env.did(ctx, s.cluster, "stopped: %s", s.verdict.Why)
	} else {
		s.env.Say("nothing to stop: %s", s.verdict.Why)
	}
	return nil
}

// left is the end of a stop that goes on without us.
func (s *stopper) left(ctx context.Context) error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, errTimeout) {
		return cause
	}
	if s.verdict.Phase == "" { // the time was over before the first look
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
		defer cancel()
		look, err := s.observer.Look(last)
		if err != nil {
			return errors.Join(cause, err)
		}
		s.enter(look.Judge())
	}
	next := next(s.cluster, s.verdict.Phase)
	if next == "" {
		next = "capstan pg stop-status -D " + s.cluster.Dir
	}
	return &capstan.Error{
		Op: "stop", Object: s.cluster.Dir, Err: fmt.Errorf("not stopped within %s: %s: %s", s.options.Timeout, s.verdict.Phase, s.verdict.Why),
		Safe: "the server goes on stopping, nothing is lost", Next: next,
	}
}

// putBack is done whenever a stop ends, however it does: archive_command always,
// everything if the server was not told to stop.
func (s *stopper) putBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if !s.told && s.summary.Status == NotBegun && len(s.journal.changes()) > 0 && s.server.Presence == pg.Alive {
		return undo(ctx, s.env, s.cluster, s.journal, UndoOptions{URL: s.options.URL, Consumers: s.options.Consumers})
	}
	return s.undoArchive(ctx)
}

// undoArchive puts archive_command back, if it was emptied.
func (s *stopper) undoArchive(ctx context.Context) error {
	for _, change := range s.journal.changes() {
		if change.Kind == ChangeArchive {
			return undoOne(ctx, s.env, s.cluster, s.journal, change, UndoOptions{})
		}
	}
	return nil
}

// act notes something that was done.
func (s *stopper) act(ctx context.Context, format string, args ...any) {
	s.summary.Actions = append(s.summary.Actions, fmt.Sprintf(format, args...))
	s.env.did(ctx, s.cluster, format, args...)
}
