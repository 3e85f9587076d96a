package pgserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgdata"
	"capstan/internal/pgslot"
)

// verifyPatience bounds the questions to a server that has just come up.
const verifyPatience = 10 * time.Second

// verify looks whether the slots that were quarantined are whole now that the server
// is up, in their files and in what the server shows, and notes that their spill
// files may be purged. The server is asked only if it lets us in.
func (s *starter) verify(ctx context.Context, server pg.Server) error {
	if len(s.records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, verifyPatience)
	defer cancel()
	conn, connErr := s.cluster.Connect(ctx, server, s.options.URL)
	if connErr != nil {
		s.env.Warn("the server could not be asked about its slots, their files are looked at alone: %v", connErr)
	} else {
		defer conn.Close(ctx) //nolint:errcheck // it was only read
	}
	var failures []error
	for i := range s.records {
		r := &s.records[i]
		result := SlotResult{Slot: r.Slot, Path: r.Path(), Step: r.Step, RestartLSN: r.RestartLSN}
		var err error
		if connErr == nil {
			result.Active, err = showsSlot(ctx, conn, r)
			result.Verified = err == nil
		}
		if err == nil {
			s.env.Step("verified " + r.Slot)
			err = s.place.Started(ctx, r)
		}
		result.Step = r.Step
		s.summary.Quarantined = append(s.summary.Quarantined, result)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		consumer := "its consumer is not back yet"
		if result.Active {
			consumer = "its consumer is back"
		}
		s.act(ctx, "slot %s is there once, with restart_lsn %s or later; %s", r.Slot, r.RestartLSN, consumer)
	}
	if len(failures) == 0 {
		s.env.Say("the spill files lie apart; when there is time: capstan pg spill purge -D %s", s.cluster.Dir)
	}
	return errors.Join(failures...)
}

// showsSlot asks the server for a slot.
func showsSlot(ctx context.Context, conn *pgx.Conn, r *pgslot.Record) (active bool, err error) {
	var times int
	var at string
	err = conn.QueryRow(ctx, `SELECT count(*), coalesce(bool_or(active), false), coalesce(min(restart_lsn)::text, '0/0')
		FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`, r.Slot).Scan(&times, &active, &at)
	if err != nil {
		return false, err
	}
	restart, err := pgdata.ParseLSN(at)
	if err != nil {
		return false, err
	}
	if times != 1 || restart < r.RestartLSN {
		return false, &capstan.Error{
			Class: capstan.ErrIncomplete, Op: "verify slot", Object: r.Slot,
			Err:  fmt.Errorf("the server shows it %d times, with restart_lsn %s; it was %s", times, restart, r.RestartLSN),
			Safe: "its old state is in " + r.Path(), Next: "see: capstan pg slot-doctor -D " + r.Dir,
		}
	}
	return active, nil
}

// plan says what a start would do, and refuses what it would refuse.
func (s *starter) plan(ctx context.Context, look *Look) error {
	would := func(format string, args ...any) {
		s.summary.Actions = append(s.summary.Actions, fmt.Sprintf(format, args...))
		s.env.Say("would: "+format, args...)
	}
	verdict := look.Judge()
	running := verdict.Phase == PhaseStartingPre || verdict.Phase == PhaseSync || verdict.Phase == PhaseCleanup || verdict.Phase == PhaseRecovery
	switch {
	case verdict.Phase == PhaseRunning:
		would("nothing: the server runs, process %d", look.Server.Process.PID)
		return nil
	case running && !s.options.Unstick:
		would("watch the start that is under way: %s", verdict.Why)
		return nil
	case running:
		would("stop the start that is under way at once, as soon as its startup process is seen at spill files: %s", verdict.Why)
	case verdict.Phase != PhaseClean && verdict.Phase != PhaseKilled:
		return refused("start", s.cluster.Dir, fmt.Errorf("%s: %s", verdict.Phase, verdict.Why), "see: capstan pg stop-status -D "+s.cluster.Dir)
	}
	if s.options.Unstick {
		slots, err := s.stuck(ctx)
		if err != nil {
			return err
		}
		for _, slot := range slots {
			if err := s.place.CheckFiles(slot, s.options.Where); err != nil {
				return err
			}
			would("move the spill files of slot %s into %s", slot, s.options.Where.Path(s.cluster.Dir))
		}
	}
	program, args, err := s.command()
	if err != nil {
		return err
	}
	would("run %s %s", program, strings.Join(args, " "))
	for _, change := range s.journal.changes() {
		would("put back: %s no more", change)
	}
	return nil
}
