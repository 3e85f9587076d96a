package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"capstan"
	"capstan/internal/machine"
)

// Run is one execution of a job.
type Run struct {
	ID       capstan.RunID
	Set      capstan.SetID // empty where a run makes or reads no set
	Job      capstan.JobKey
	Kind     string // "backup", "resume", "consolidate", "retry", "restore", "verify", "drill"
	Process  machine.Place
	Status   capstan.RunStatus
	Started  time.Time
	Finished time.Time // zero while running
	Beat     time.Time // of the last heartbeat
	Cancel   CancelRequest
	Progress []byte // JSON of the last heartbeat; nil before the first
	Counts   capstan.Counts
	Summary  []byte // JSON; nil while running
}

// RunFilter chooses runs: those that meet all that is given.
type RunFilter struct {
	Set     capstan.SetID  // empty: of all sets
	Job     capstan.JobKey // empty: of all jobs
	Running bool           // only those that say that they run
	Limit   int            // the newest so many; 0: all
}

// BeginRun records that a run of this process started, and gives its number. set
// and job may be empty.
func (c *Catalog) BeginRun(ctx context.Context, set capstan.SetID, job capstan.JobKey, kind string, now time.Time) (id capstan.RunID, err error) {
	p, err := c.here()
	if err != nil { // then nobody can see whether it lives, and its heartbeat tells
		p = machine.Place{PID: os.Getpid()}
	}
	err = c.write(ctx, "begin a run", func(t *tx) error {
		if _, err := t.one(sqlNextRun, nil, &id); err != nil {
			return err
		}
		_, err := t.exec(sqlInsertRun, int64(id), string(set), string(job), kind, p.PID, p.Host, p.Machine, p.Boot, p.Space, p.Started,
			string(capstan.RunRunning), unix(now), unix(now))
		return err
	})
	if err != nil {
		return 0, err // the number was not given
	}
	return id, nil
}

// FinishRun records how a run ended. summary is JSON and may be nil.
func (c *Catalog) FinishRun(ctx context.Context, id capstan.RunID, status capstan.RunStatus, counts capstan.Counts, summary []byte) error {
	totals, err := json.Marshal(counts)
	if err != nil {
		return err
	}
	return c.updateRun(ctx, "finish", id, sqlFinishRun, string(status), unix(c.now()), string(totals), summary)
}

// Heartbeat records that a run lives and how far it is; snapshot is JSON.
func (c *Catalog) Heartbeat(ctx context.Context, id capstan.RunID, snapshot []byte) error {
	return c.updateRun(ctx, "heartbeat of", id, sqlHeartbeat, unix(c.now()), snapshot)
}

func (c *Catalog) updateRun(ctx context.Context, op string, id capstan.RunID, query string, args ...any) error {
	return c.write(ctx, fmt.Sprintf("%s run %d", op, id), func(t *tx) error {
		touched, err := t.exec(query, append(args, int64(id))...)
		if err == nil && touched == 0 {
			err = unknownRun(id)
		}
		return err
	})
}

func unknownRun(id capstan.RunID) error {
	return &capstan.Error{
		Class: capstan.ErrNotFound, Op: "run", Object: fmt.Sprint(id), Err: errors.New("the catalog does not know it"),
		Next: "see: capstan runs",
	}
}

// InterruptRuns marks the runs of a job of the given kinds that still say they
// run as interrupted, and tells how many. The caller holds the job's lock, so
// their processes are dead.
func (c *Catalog) InterruptRuns(ctx context.Context, job capstan.JobKey, kinds ...string) (int64, error) {
	var running, total int64
	_, err := one(ctx, c.reads, sqlRunningOfJob, with(string(job)), &running)
	if err != nil || running == 0 {
		return 0, c.failed(ctx, "list runs", err)
	}
	err = c.write(ctx, "mark dead runs", func(t *tx) error {
		total = 0
		for _, kind := range kinds {
			n, err := t.exec(sqlInterruptRuns, unix(c.now()), string(job), kind)
			if err != nil {
				return err
			}
			total += n
		}
		return nil
	})
	return total, err
}

// Run gives one run; capstan.ErrNotFound if there is none.
func (c *Catalog) Run(ctx context.Context, id capstan.RunID) (Run, error) {
	runs, err := c.readRuns(ctx, sqlRun, int64(id))
	if err == nil && len(runs) == 0 {
		err = unknownRun(id)
	}
	if err != nil {
		return Run{}, c.failed(ctx, fmt.Sprintf("run %d", id), err)
	}
	return runs[0], nil
}

// Runs lists runs, newest first.
func (c *Catalog) Runs(ctx context.Context, filter RunFilter) ([]Run, error) {
	query, args := sqlRuns, with()
	rest := filter.Running // still to be filtered here
	switch {
	case filter.Set != "":
		query, args = sqlRunsOfSet, with(string(filter.Set))
		rest = rest || filter.Job != ""
	case filter.Job != "":
		query, args = sqlRunsOfJob, with(string(filter.Job))
	case filter.Running:
		query, rest = sqlUnfinishedRuns, false
	}
	limit := filter.Limit
	if limit <= 0 {
		limit = math.MaxInt32
	}
	fetch := limit
	if rest {
		fetch = math.MaxInt32
	}
	runs, err := c.readRuns(ctx, query, append(args, int64(math.MaxInt64), fetch)...)
	if err != nil {
		return nil, c.failed(ctx, "list runs", err)
	}
	runs = slices.DeleteFunc(runs, func(r Run) bool {
		return (filter.Job != "" && r.Job != filter.Job) || (filter.Running && r.Status != capstan.RunRunning)
	})
	return runs[:min(limit, len(runs))], nil
}

func (c *Catalog) readRuns(ctx context.Context, query string, args ...any) ([]Run, error) {
	var runs []Run
	err := each(ctx, c.reads, query, args, func(rows *sql.Rows) error {
		var r Run
		var started, finished, beat, cancel int64
		var counts string
		p := &r.Process
		err := rows.Scan(&r.ID, &r.Set, &r.Job, &r.Kind, &p.PID, &p.Host, &p.Machine, &p.Boot, &p.Space, &p.Started,
			&r.Status, &started, &finished, &beat, &cancel, &r.Cancel.By, &r.Progress, &counts, &r.Summary)
		if err != nil {
			return err
		}
		r.Started, r.Finished, r.Beat, r.Cancel.At = fromUnix(started), fromUnix(finished), fromUnix(beat), fromUnix(cancel)
		runs = append(runs, r)
		return json.Unmarshal([]byte(counts), &runs[len(runs)-1].Counts)
	})
	return runs, err
}
