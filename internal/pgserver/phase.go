package pgserver

import (
	"fmt"
	"time"

	"capstan/internal/output"
	"capstan/internal/progress"
)

// enter notes a change of the phase or of its blockers, for people, for the live
// view and for the event stream.
func (s *stopper) enter(verdict Verdict) {
	same := verdict.Phase == s.verdict.Phase
	changed := !same || verdict.Why != s.verdict.Why
	s.verdict = verdict
	if !same {
		s.leave()
		s.since, s.next = time.Now(), ""
		s.summary.Phases = append(s.summary.Phases, PhaseTime{Phase: verdict.Phase, Why: verdict.Why})
		s.env.Tracker.Event(progress.Event{Type: progress.EventBegin, Stage: string(verdict.Phase), Object: verdict.Why})
	}
	if !changed {
		return
	}
	s.summary.Phases[len(s.summary.Phases)-1].Why = verdict.Why
	s.declare()
	if !same && verdict.Phase != PhaseClean { // the end is told by who ends
		s.env.Say("%s: %s", verdict.Phase, output.Clean(verdict.Why))
	}
}

// leave ends the present phase.
func (s *stopper) leave() {
	if s.waitDone != nil {
		s.waitDone()
		s.waitDone = nil
	}
	if s.since.IsZero() {
		return
	}
	lasted := time.Since(s.since).Seconds()
	s.summary.Phases[len(s.summary.Phases)-1].Seconds = lasted
	s.env.Tracker.Event(progress.Event{Type: progress.EventEnd, Stage: string(s.summary.Phases[len(s.summary.Phases)-1].Phase), Seconds: lasted})
	s.since = time.Time{}
}

// coming says what comes next in the present phase.
func (s *stopper) coming(format string, args ...any) {
	if next := fmt.Sprintf(format, args...); next != s.next {
		s.next = next
		s.declare()
	}
}

// declare shows the wait: whom for, since when, what comes next.
func (s *stopper) declare() {
	if s.waitDone != nil {
		s.waitDone()
	}
	next := s.next
	if next == "" {
		next = "nothing, it ends by itself"
	}
	detail := fmt.Sprintf("%s since %s: %s; next: %s", s.verdict.Phase, s.since.Format(time.TimeOnly), s.verdict.Why, next)
	s.waitDone = s.stage.Wait(progress.ForServer, output.Clean(detail))
}
