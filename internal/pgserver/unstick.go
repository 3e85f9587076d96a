package pgserver

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"capstan/internal/pg"
	"capstan/internal/pgdata"
	"capstan/internal/pgslot"
)

// Slots is the place of a cluster's replication slots. Its Idle is the proof that no
// server, no child of one and nothing that one started works in the data directory.
func Slots(ctx context.Context, env Env, cluster *pg.Cluster) (*pgslot.Place, error) {
	control, err := cluster.Control(ctx)
	if err != nil {
		return nil, err
	}
	return &pgslot.Place{
		FS: env.FS, Dir: cluster.Dir, Major: cluster.Major, SystemID: control.SystemID, Timeline: control.Timeline,
		Segment: control.SegmentSize, UID: int(cluster.Owner.UID), GID: int(cluster.Owner.GID),
		Idle: func() error { return idle(cluster) },
	}, nil
}

// idle returns nil if nothing works in a data directory.
func idle(cluster *pg.Cluster) error {
	server, err := cluster.Server()
	if err != nil {
		return err
	}
	switch server.Presence {
	case pg.Alive:
		return fmt.Errorf("the server runs, process %d", server.Process.PID)
	case pg.Foreign:
		return fmt.Errorf("postmaster.pid names process %d, but %s", server.File.PID, server.Why)
	case pg.Absent, pg.Dead:
	}
	strays, err := cluster.Strays(server)
	if err == nil && len(strays) > 0 {
		err = errors.New("processes of a server that is gone still work there: " + processes(strays))
	}
	return err
}

// settle ends quarantines of calls that were killed, and remembers those whose server
// has not come up since. Without any quarantine it makes nothing.
func (s *starter) settle(ctx context.Context) (release func() error, err error) {
	release = func() error { return nil }
	root := s.options.Where.Path(s.cluster.Dir)
	known, err := s.place.Records(ctx, root)
	if err != nil {
		return release, err
	}
	if len(known) == 0 {
		slots, err := s.stuck(ctx)
		if err != nil || len(slots) == 0 || !s.options.Unstick {
			return release, err
		}
	}
	where := s.options.Where
	where.Inside = where.Inside || root == pgslot.InsideRoot(s.cluster.Dir)
	if release, err = s.place.Lock(where); err != nil {
		return func() error { return nil }, err
	}
	records, err := s.place.Settle(ctx, root)
	for _, r := range records {
		if r.Step == pgslot.StepMoved {
			s.records = append(s.records, r)
		}
	}
	if err != nil {
		return func() error { return nil }, errors.Join(err, release())
	}
	return release, nil
}

// quarantine moves the spill files of every slot away that has many.
func (s *starter) quarantine(ctx context.Context) error {
	slots, err := s.stuck(ctx)
	if err != nil {
		return err
	}
	// All are looked at before one is touched.
	for _, slot := range slots {
		if err := s.place.Check(slot, s.options.Where); err != nil {
			return err
		}
	}
	for _, slot := range slots {
		s.env.Step("quarantine " + slot)
		record, err := s.place.Quarantine(ctx, slot, s.options.Where)
		if err != nil {
			return err
		}
		s.records = append(s.records, record)
		s.act(ctx, "slot %s: its spill files are in %s", slot, record.Path())
	}
	if s.options.Where.Inside && len(s.records) > 0 && s.cluster.Major >= 14 && !s.options.SyncFS {
		s.options.SyncFS = true
		s.env.Say("the quarantine is within PGDATA: this start syncs with syncfs instead of file by file")
	}
	return nil
}

// stuck are the slots with many spill files.
func (s *starter) stuck(ctx context.Context) ([]string, error) {
	all, err := s.place.Slots()
	if err != nil {
		return nil, err
	}
	var slots []string
	for _, slot := range all {
		if !pgdata.ValidSlotName(slot) {
			continue // slot-doctor's
		}
		n, err := s.place.Count(ctx, slot, s.options.Least)
		if err != nil {
			return nil, err
		}
		if n >= s.options.Least {
			slots = append(slots, slot)
		}
	}
	return slots, nil
}

// goneWithin is how long an immediate stop may take; the server ends its children
// itself after five seconds.
const goneWithin = 30 * time.Second

// interrupt stops a start that is held up by spill files, once that is proved by what
// its startup process has open. through says that the server needs no help.
func (s *starter) interrupt(ctx context.Context) (through bool, err error) {
	slots, err := s.stuck(ctx)
	if err != nil {
		return false, err
	}
	if len(slots) == 0 {
		s.env.Say("no slot has %d spill files or more: the start is not held up by them", s.options.Least)
		return true, nil
	}
	for _, slot := range slots { // what would be refused later must not cost a start now
		if err := s.place.CheckFiles(slot, s.options.Where); err != nil {
			return false, err
		}
	}
	look, through, err := s.prove(ctx)
	if err != nil || through {
		return through, err
	}
	server := look.Server
	s.env.Step("immediate stop")
	err = s.cluster.Signal(server.Process, syscall.SIGQUIT, func(pg.Process) error {
		now, err := s.observer.Look(ctx)
		if err != nil {
			return err
		}
		return mayStopImmediately(&now, server)
	})
	if err != nil && !gone(err) {
		return false, err
	}
	s.act(ctx, "immediate stop of a start held up by spill files: SIGQUIT to the postmaster %d", server.Process.PID)
	waiting, cancel := context.WithTimeoutCause(ctx, goneWithin, errors.New("the server did not end"))
	defer cancel()
	if err := s.cluster.Gone(waiting, server.Process, startLook); err != nil {
		return false, err
	}
	for {
		err := s.place.Idle()
		if err == nil {
			return false, nil
		}
		timer := time.NewTimer(startLook)
		select {
		case <-waiting.Done():
			timer.Stop()
			return false, refused("unstick", s.cluster.Dir, err, "wait for them to end, then call it again")
		case <-timer.C:
		}
	}
}

// mayStopImmediately says why a server must not be stopped immediately now; nil where
// it is a start that has let nobody in yet.
func mayStopImmediately(look *Look, server pg.Server) error {
	switch {
	case look.Server.Presence != pg.Alive || look.Server.Process.Start != server.Process.Start:
		return errors.New("postmaster.pid names another process by now")
	case look.Server.File.Status == pgdata.StatusStopping && (look.Control.State == pgdata.StateInProduction || look.Control.State == pgdata.StateShuttingDown):
		return fmt.Errorf("it is stopping while pg_control says %q", look.Control.State)
	case look.Server.File.Status != pgdata.StatusStarting:
		return fmt.Errorf("it is %s by now", look.Server.File.Status)
	case len(look.children(pg.RoleStartup)) != 1:
		return errors.New("it has no startup process by now")
	case len(look.children(pg.RoleBackend)) > 0 || len(look.children(pg.RoleWalsender)) > 0:
		return errors.New("it has connections by now")
	}
	return nil
}

// prove looks until the startup process is seen at spill files.
func (s *starter) prove(ctx context.Context) (look Look, through bool, err error) {
	limit := time.NewTimer(s.options.Prove)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if look, err = s.observer.Look(ctx); err != nil {
			return look, false, err
		}
		phase := look.Judge().Phase
		if (phase == PhaseSync || phase == PhaseCleanup) && mayStopImmediately(&look, look.Server) == nil {
			return look, false, nil
		}
		if look.Server.Presence != pg.Alive || look.Server.File.Status != pgdata.StatusStarting {
			return look, true, nil
		}
		s.enter(&look)
		select {
		case <-ctx.Done():
			return look, false, context.Cause(ctx)
		case <-limit.C:
			return look, false, refused("unstick", s.cluster.Dir,
				fmt.Errorf("in %s its startup process was not seen at a spill file: something else holds the start up", s.options.Prove),
				"capstan pg start -D "+s.cluster.Dir+" shows what it does")
		case <-tick.C:
		}
	}
}
