package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"capstan"
	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/pgdata"
	"capstan/internal/process"
	"capstan/internal/progress"
)

// startLook is how long a starting server is left alone between two looks.
const startLook = 20 * time.Millisecond

// betweenFiles is how long a sync may not be seen at a file and still be one.
const betweenFiles = time.Second

// lateServer is how long a server may be unseen after pg_ctl has failed: another start,
// of a call that was killed, may have been a moment earlier, and is gone on with.
const lateServer = time.Second

// watch looks at a starting server until it takes connections. control is the pg_ctl
// that started it; nil if it was started before this call.
func (s *starter) watch(ctx context.Context, control *process.Process) error {
	s.summary.Status = Starting
	timer := time.NewTimer(0)
	defer timer.Stop()
	var ended <-chan struct{}
	var over time.Time // when pg_ctl ended
	if control != nil {
		ended = control.Done()
	}
	for {
		select {
		case <-ctx.Done():
			return s.left(ctx)
		case <-ended:
			ended, over = nil, time.Now()
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
		server := look.Server
		switch {
		case server.Presence == pg.Alive && (server.File.Status == pgdata.StatusReady || server.File.Status == pgdata.StatusStandby):
			return s.up(ctx, server)
		case server.Presence == pg.Alive:
			s.named(ctx, server)
			s.enter(&look)
		case control == nil:
			s.summary.Status = NotStarted
			return &capstan.Error{Op: "start", Object: s.cluster.Dir, Err: errors.New("the server that was starting has ended"), Next: "look at its log, then start it again"}
		case ended == nil && time.Since(over) > lateServer:
			s.summary.Status = NotStarted
			return s.failed(ctx, control)
		}
		timer.Reset(max(startLook, 4*time.Since(began))) // at most a fifth of one processor
	}
}

// named finds out once what the titles of the server's processes begin with.
func (s *starter) named(ctx context.Context, server pg.Server) {
	if s.observer.ClusterName != "" || s.options.ClusterName != "" || s.phase != "" {
		return
	}
	if values, err := s.cluster.Settings(ctx, server, "cluster_name"); err == nil {
		s.observer.ClusterName = values["cluster_name"]
	}
}

// up is the end of a start that succeeded.
func (s *starter) up(ctx context.Context, server pg.Server) error {
	s.leave()
	s.summary.Status, s.summary.PID = Ready, server.Process.PID
	if server.File.Status == pgdata.StatusStandby {
		s.summary.Status = Standby
	}
	s.env.Step("up")
	s.act(ctx, "the server is %s, process %d", s.summary.Status, server.Process.PID)
	return s.finish(ctx, server)
}

// left is the end of a start that goes on without us.
func (s *starter) left(ctx context.Context) error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, errTimeout) {
		return cause
	}
	doing := string(s.phase)
	if doing == "" { // the time was over before the first look
		doing = "nothing was seen of it yet"
	}
	return &capstan.Error{
		Op: "start", Object: s.cluster.Dir, Err: fmt.Errorf("not up within %s: %s", s.options.Timeout, doing), Safe: "the server goes on starting",
		Next: "capstan pg start -D " + s.cluster.Dir + " goes on watching it",
	}
}

// enter notes the phase, for people, for the live view and for the event stream.
func (s *starter) enter(look *Look) {
	verdict := look.Judge()
	detail := verdict.Why
	if verdict.Phase == PhaseRecovery || verdict.Phase == PhaseStartingPre {
		detail = s.replay.describe(s, look, detail)
	}
	// A startup process that syncs has the directory open all the time and each file for
	// a moment only: a look between two of them is no other phase.
	if look.Startup.Spill {
		s.spillSeen = time.Now()
	}
	if s.phase == PhaseSync && verdict.Phase != PhaseSync && !look.Startup.WAL && time.Since(s.spillSeen) < betweenFiles {
		return
	}
	if verdict.Phase != s.phase {
		s.leave()
		s.phase, s.since = verdict.Phase, time.Now()
		s.summary.Phases = append(s.summary.Phases, PhaseTime{Phase: verdict.Phase, Why: verdict.Why})
		s.env.Tracker.Event(progress.Event{Type: progress.EventBegin, Stage: string(verdict.Phase), Object: detail})
		s.env.Say("%s: %s", verdict.Phase, output.Clean(detail))
	} else if s.waitDone != nil {
		s.waitDone()
	}
	s.waitDone = s.stage.Wait(progress.Resource(s.phase), detail)
}

// leave ends the present phase.
func (s *starter) leave() {
	if s.waitDone != nil {
		s.waitDone()
		s.waitDone = nil
	}
	if s.since.IsZero() {
		return
	}
	took := time.Since(s.since).Seconds()
	s.summary.Phases[len(s.summary.Phases)-1].Seconds = took
	s.env.Tracker.Event(progress.Event{Type: progress.EventEnd, Stage: string(s.phase), Seconds: took})
	s.phase, s.since = "", time.Time{}
}

// replay estimates how long the rest of a recovery takes.
type replay struct {
	known bool
	end   pgdata.LSN // of the WAL that there is
	first pgdata.LSN // where it was when it was first seen replaying
	began time.Time
}

// describe says how far the replay is, where the startup process's title tells.
func (r *replay) describe(s *starter, look *Look, otherwise string) string {
	for _, child := range look.children(pg.RoleStartup) {
		at, ok := recovering(child.Title, look.Control.SegmentSize)
		if !ok {
			continue
		}
		if !r.known {
			r.known, r.end = true, WALEnd(s.cluster.Dir, look.Control)
			r.first, r.began = at, time.Now()
		}
		left := max(int64(r.end)-int64(at), 0)
		text := fmt.Sprintf("the server starts; it replays WAL at %s, %s are left", at, capstan.Bytes(left))
		if done := int64(at) - int64(r.first); done > 0 {
			rate := float64(done) / time.Since(r.began).Seconds()
			text += ", about " + output.Duration(time.Duration(float64(left)/rate*float64(time.Second)))
		}
		return text
	}
	return otherwise
}

// recovering reads the WAL file that a startup process's title names: "postgres:
// startup recovering 000000010000000000000012".
func recovering(title string, segment uint32) (pgdata.LSN, bool) {
	_, name, ok := strings.Cut(strings.TrimRight(title, "\x00 "), "recovering ")
	if !ok || len(name) != 24 || segment == 0 {
		return 0, false
	}
	var timeline, high, low uint32
	if n, err := fmt.Sscanf(name, "%08X%08X%08X", &timeline, &high, &low); n != 3 || err != nil {
		return 0, false
	}
	return pgdata.LSN(uint64(high)<<32 + uint64(low)*uint64(segment)), true
}

// WALEnd is about where the WAL ends that a recovery from the cluster's last
// checkpoint would replay: the end of the last WAL file that was written since.
// Files that were recycled for later use do not count. It reads the head of each.
func WALEnd(dir string, control pgdata.Control) pgdata.LSN {
	at := pgdata.SegmentStart(control.Redo, control.SegmentSize)
	for {
		file, err := os.Open(filepath.Join(dir, "pg_wal", pgdata.SegmentName(control.Timeline, at, control.SegmentSize)))
		if err != nil {
			return at
		}
		head := make([]byte, pgdata.WALPageHeader)
		_, err = file.ReadAt(head, 0)
		_ = file.Close() // it was only read
		if begins, _, ok := pgdata.ParseWALPage(head); err != nil || !ok || begins != at {
			return at
		}
		at += pgdata.LSN(control.SegmentSize)
	}
}
