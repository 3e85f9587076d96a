package pgserver

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"capstan"
	"capstan/internal/pg"
)

// identity is a process: a number alone may be another's later.
type identity struct {
	pid   int
	start uint64
}

// pressure is what was done about a process that holds the stop up.
type pressure struct {
	first time.Time // when it was first seen to block
	terms int       // SIGTERMs sent
	last  time.Time // when the last one was sent
	cut   bool      // its sockets were shut down, or that is not possible
}

// How long a process is given before it is pressed. A consumer that keeps up takes
// the rest of the WAL in far less; a walsender that got a SIGTERM sends its consumer
// an error first, and hangs there when the socket is full.
const (
	walsenderGrace = time.Second
	standbyGrace   = 5 * time.Second
	termAgain      = 3 * time.Second
	cutAfter       = time.Second
	backendGrace   = 5 * time.Second
	archiverGrace  = time.Second
)

// of gives the pressure on a process, from now on.
func (s *stopper) of(p pg.Process) *pressure {
	key := identity{p.PID, p.Start}
	if s.pressed[key] == nil {
		s.pressed[key] = &pressure{first: time.Now()}
	}
	return s.pressed[key]
}

// due reports whether the next SIGTERM's time has come.
func (p *pressure) due(grace, again time.Duration) bool {
	if p.terms == 0 {
		return time.Since(p.first) >= grace
	}
	return time.Since(p.last) >= again
}

// press acts upon what holds the stop up, as the policies say.
func (s *stopper) press(ctx context.Context, look *Look, verdict Verdict) error {
	switch verdict.Phase {
	case PhaseRunning: // it has not yet heard
		if s.told && time.Since(s.toldAt) > restateAfter {
			return s.fast(ctx)
		}
	case PhaseBackends:
		s.coming("SIGTERM to those that are left after %s", backendGrace)
		return s.each(verdict.Blockers, func(child pg.Child) error {
			if s.of(child.Process).due(backendGrace, backendGrace) {
				return s.terminate(ctx, child)
			}
			return nil
		})
	case PhaseWalsender:
		return s.each(verdict.Blockers, func(child pg.Child) error { return s.pressWalsender(ctx, child, walsenderGrace) })
	case PhaseStandby:
		return s.each(verdict.Blockers, func(child pg.Child) error { return s.pressWalsender(ctx, child, standbyGrace) })
	case PhaseArchiver:
		return s.each(verdict.Blockers, func(child pg.Child) error { return s.pressArchiver(ctx, look, child) })
	case PhaseOrphans:
		return s.pressOrphans(ctx, verdict.Commands)
	case PhaseUnknown:
		s.coming("nothing: they are not signalled")
	default:
		s.coming("")
	}
	return nil
}

// each does something about each of several processes. One that has ended
// meanwhile, or is not what it was, is left to the next look.
func (s *stopper) each(children []pg.Child, do func(pg.Child) error) error {
	for _, child := range children {
		err := do(child)
		switch {
		case err == nil || gone(err):
		case errors.Is(err, syscall.EPERM) || !errors.Is(err, capstan.ErrRefused):
			return err
		default:
			s.env.Warn("%v", err)
		}
	}
	return nil
}

// terminate sends a child SIGTERM if it still has its role.
func (s *stopper) terminate(ctx context.Context, child pg.Child) error {
	s.env.Step("terminate " + string(child.Role))
	if err := s.cluster.Signal(child.Process, syscall.SIGTERM, s.still(child)); err != nil {
		return err
	}
	on := s.of(child.Process)
	on.terms, on.last = on.terms+1, time.Now()
	s.act(ctx, "SIGTERM to %s %d (attempt %d)", child.Role, child.PID, on.terms)
	return nil
}

// still makes the question whether a child has the role that it was seen in.
func (s *stopper) still(child pg.Child) func(pg.Process) error {
	return func(now pg.Process) error {
		switch role := pg.RoleOf(now.Title, s.observer.ClusterName); role {
		case child.Role:
			return nil
		case pg.RoleExiting:
			return pg.ErrGone
		default:
			return fmt.Errorf("it was a %s and is a %s by now", child.Role, role)
		}
	}
}

// pressWalsender ends a walsender step by step.
func (s *stopper) pressWalsender(ctx context.Context, child pg.Child, grace time.Duration) error {
	on := s.of(child.Process)
	if s.options.Walsender == WalsenderWait {
		s.coming("nothing: --walsender=wait; its consumer, wal_sender_timeout or you end it")
		return nil
	}
	if s.options.Walsender == WalsenderCut && on.terms >= 2 && !on.cut {
		s.coming("its socket is shut down")
		if time.Since(on.last) < cutAfter {
			return nil
		}
		return s.cut(ctx, child, on)
	}
	s.coming("SIGTERM")
	if !on.due(grace, termAgain) {
		return nil
	}
	return s.terminate(ctx, child)
}

// cut shuts a walsender's sockets down; where that is not allowed, SIGTERM goes on.
func (s *stopper) cut(ctx context.Context, child pg.Child, on *pressure) error {
	s.env.Step("cut")
	sockets, err := s.cluster.Cut(child.Process, s.still(child))
	if errors.Is(err, pg.ErrForbidden) {
		on.cut = true
		s.env.Warn("the socket of walsender %d cannot be shut down: %v; SIGTERM goes on", child.PID, err)
		return nil
	}
	if err != nil {
		return err
	}
	on.cut = true
	s.act(ctx, "%d sockets of walsender %d shut down", sockets, child.PID)
	return nil
}

// pressArchiver ends the archiver as its policy says.
func (s *stopper) pressArchiver(ctx context.Context, look *Look, archiver pg.Child) error {
	on := s.of(archiver.Process)
	policy := s.options.Archiver
	if policy == ArchiverPause && s.broken {
		policy = ArchiverFinish
	}
	switch policy {
	case ArchiverWait:
		s.coming("nothing: --archiver=wait; all that is ready is archived")
	case ArchiverFinish:
		s.coming("the archiver ends after the present file")
		if on.due(0, backendGrace) {
			return s.terminate(ctx, archiver)
		}
	case ArchiverAbort:
		s.coming("SIGTERM to the archive command")
		if err := s.abort(ctx, look.Commands, archiver); err != nil {
			return err
		}
		// Between two files, and with an archive_library, there is none.
		if len(look.Commands) == 0 && on.due(archiverGrace, termAgain) {
			return s.terminate(ctx, archiver)
		}
	case ArchiverPause:
		s.coming("the archiver reads that it is paused after the present file")
		if !s.paused {
			return s.pause(ctx, archiver)
		}
	}
	return nil
}

// abort sends SIGTERM to all processes of the archive command.
func (s *stopper) abort(ctx context.Context, commands []pg.Process, archiver pg.Child) error {
	due := false
	for _, command := range commands {
		due = due || s.of(command).due(0, termAgain)
	}
	if !due {
		return nil
	}
	s.env.Step("abort command")
	sent, err := s.cluster.SignalBelow(archiver.Process, syscall.SIGTERM)
	for _, command := range sent {
		on := s.of(command)
		on.terms, on.last = on.terms+1, time.Now()
	}
	if len(sent) > 0 {
		s.act(ctx, "SIGTERM to the archive command: %s", processes(sent))
	}
	return err
}

// pressOrphans is for what a killed server left behind.
func (s *stopper) pressOrphans(ctx context.Context, strays []pg.Process) error {
	if s.options.Archiver != ArchiverAbort {
		s.coming("nothing: they end by themselves, or --archiver=abort-command")
		return nil
	}
	s.coming("SIGTERM to those that the server has started")
	for _, stray := range strays {
		// A child of the killed server ends when it notices. What cannot be shown to
		// come from it may be a person's job that stands in the directory.
		if pg.RoleOf(stray.Title, s.observer.ClusterName) != pg.RoleUnknown || !s.cluster.FromServer(stray) {
			continue
		}
		on := s.of(stray)
		if !on.due(0, termAgain) {
			continue
		}
		s.env.Step("terminate orphan")
		err := s.cluster.Signal(stray, syscall.SIGTERM, nil)
		switch {
		case gone(err), errors.Is(err, capstan.ErrRefused) && !errors.Is(err, syscall.EPERM):
			continue // its parent has just ended: the next look sees it anew
		case err != nil:
			return err
		}
		on.terms, on.last = on.terms+1, time.Now()
		s.act(ctx, "SIGTERM to %s", processes([]pg.Process{stray}))
	}
	return nil
}
