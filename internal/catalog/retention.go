package catalog

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"capstan"
	"capstan/internal/policy"
)

// Retained lists the sets of a job that were not forgotten, as retention judges
// them: all, or those that some volumes hold, as these alone hold them.
func (c *Catalog) Retained(ctx context.Context, job capstan.JobKey, on ...capstan.VolumeID) ([]policy.Set, error) {
	sets, err := retained(ctx, c.reads, job, on)
	return sets, c.failed(ctx, "sets of job "+string(job), err)
}

func retained(ctx context.Context, from queries, job capstan.JobKey, on []capstan.VolumeID) (sets []policy.Set, err error) {
	at := map[int64]int{}
	var numbers []int64
	err = each(ctx, from, sqlRetained, with(string(job)), func(rows *sql.Rows) error {
		s := policy.Set{Whole: true}
		var no, started int64
		err := rows.Scan(&no, &s.ID, &s.Base, &s.Consolidates, &started, &s.Status, &s.Failed)
		s.Started = fromUnix(started)
		at[no] = len(sets)
		sets, numbers = append(sets, s), append(numbers, no)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = each(ctx, from, sqlResting, with(string(job)), func(rows *sql.Rows) error {
		var no int64
		var volume capstan.VolumeID
		err := rows.Scan(&no, &volume)
		if i, listed := at[no]; listed {
			sets[i].On = append(sets[i].On, volume)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, fact := range []struct {
		query string
		mark  func(*policy.Set)
	}{
		{sqlLacking, func(s *policy.Set) { s.Whole = false }},
		{sqlWaiting, func(s *policy.Set) { s.Waiting = true }},
		{sqlInUse, func(s *policy.Set) { s.InUse = true }},
		{sqlPinned, func(s *policy.Set) { s.Pinned = true }},
	} {
		err := each(ctx, from, fact.query, with(string(job)), func(rows *sql.Rows) error {
			var no int64
			err := rows.Scan(&no)
			if i, listed := at[no]; listed {
				fact.mark(&sets[i])
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(on) == 0 {
		return sets, nil
	}
	h, err := holdings(ctx, from, job)
	return h.within(sets, numbers, on), err
}

// Forget lets go of what decide says of the sets of a job; where volumes are given, on
// these alone: a set that is wanted on others stays there, and is forgotten only if it
// is wanted on none. Reading them, deciding
// and forgetting are one transaction, so that no pin and no finding comes between;
// decide must not block. A forgotten set is chosen for nothing any more; its copies
// and demands are forgotten, which makes its volumes answerable for removing them
// (Forgotten). Each has a line in the audit log, with the reason and why.
//
// The caller holds the lock of the job.
func (c *Catalog) Forget(ctx context.Context, job capstan.JobKey, why string, decide func([]policy.Set) policy.Plan, on ...capstan.VolumeID) (plan policy.Plan, err error) {
	err = c.write(ctx, "forget sets of job "+string(job), func(t *tx) error {
		sets, err := retained(ctx, t, job, on)
		if err != nil {
			return err
		}
		plan = decide(sets)
		for _, v := range plan {
			if v.Keep || !slices.ContainsFunc(sets, func(s policy.Set) bool { return s.ID == v.Set }) {
				continue
			}
			detail := v.Reasons[0].String()
			if why != "" {
				detail += " (" + why + ")"
			}
			if err := t.letGo(v.Set, on, detail, unix(c.now())); err != nil {
				return err
			}
		}
		return nil
	})
	return plan, err
}

func (t *tx) forget(id capstan.SetID, detail string, now int64) error {
	no, err := t.setNo(id)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		query string
		args  []any
	}{
		{sqlForgetCopies, with(now, no)},
		{sqlDemandCopies, with(no)},
		{sqlForgetDemands, with(no)},
		{sqlForgetSet, with(now, no)},
	} {
		if _, err := t.exec(step.query, step.args...); err != nil {
			return err
		}
	}
	return t.audit(now, "forget", id, detail)
}

// ForgottenSet is one that was let go, and of which something is left.
type ForgottenSet struct {
	ID      capstan.SetID
	Job     capstan.JobKey
	Claim   string // as of capstan.Set
	Started time.Time
	At      time.Time          // when it was forgotten
	Listed  bool               // the catalog still has its entries
	Volumes []capstan.VolumeID // that hold some of it, as far as is known
	Kept    bool               // it stays on other volumes, and was not forgotten
}

// Forgotten lists the forgotten sets of which something is left, on volumes or in
// the catalog, oldest first; then those that some volumes are to lose, and that stay on
// others. Its job empty: of all jobs.
func (c *Catalog) Forgotten(ctx context.Context, job capstan.JobKey) (sets []ForgottenSet, err error) {
	sets, err = c.forgotten(ctx, job)
	if err == nil {
		var more []ForgottenSet
		more, err = c.released(ctx, job)
		sets = append(sets, more...)
	}
	return sets, c.failed(ctx, "forgotten sets", err)
}

func (c *Catalog) forgotten(ctx context.Context, job capstan.JobKey) (sets []ForgottenSet, err error) {
	var numbers []int64
	err = each(ctx, c.reads, sqlForgotten, nil, func(rows *sql.Rows) error {
		var s ForgottenSet
		var no, started, at, phase int64
		err := rows.Scan(&no, &s.ID, &s.Job, &s.Claim, &started, &at, &phase)
		s.Started, s.At, s.Listed = fromUnix(started), fromUnix(at), phase != phaseForgotten
		if job == "" || s.Job == job {
			sets, numbers = append(sets, s), append(numbers, no)
		}
		return err
	})
	for i, no := range numbers {
		if err != nil {
			break
		}
		err = each(ctx, c.reads, sqlDemands, with(no), func(rows *sql.Rows) error {
			var d capstan.Demand
			err := rows.Scan(&d.Volume, &d.State)
			sets[i].Volumes = append(sets[i].Volumes, d.Volume)
			return err
		})
	}
	return sets, err
}

// WasForgotten tells when a set was let go, also when nothing of it is left; false
// for one that was not.
func (c *Catalog) WasForgotten(ctx context.Context, id capstan.SetID) (at time.Time, forgotten bool, err error) {
	var nanoseconds int64
	forgotten, err = one(ctx, c.reads, sqlForgottenAt, with(string(id)), &nanoseconds)
	return fromUnix(nanoseconds), forgotten, c.failed(ctx, "set "+string(id), err)
}

// Erased records that a volume holds nothing any more of a set that it was to lose, after its
// removal is durable there. It may be repeated. Where a lease of the fences is not
// held any more, nothing changes: capstan.ErrLeaseLost.
func (c *Catalog) Erased(ctx context.Context, id capstan.SetID, volume capstan.VolumeID, detail string, fences ...Fence) error {
	return c.write(ctx, "record the removal of set "+string(id), func(t *tx) error {
		if err := t.fenced(fences); err != nil {
			return err
		}
		set, found, err := anyPhase(t.ctx, t, id)
		if err != nil {
			return err
		}
		released, err := t.one(sqlIsReleased, with(set.no, string(volume)), new(int64))
		if err != nil {
			return err
		}
		if !found || set.forgotten == 0 && !released {
			return unknownSet(id)
		}
		if _, err := t.exec(sqlDropReleased, set.no, string(volume)); err != nil {
			return err
		}
		touched, err := t.exec(sqlDropDemand, set.no, string(volume))
		if err == nil {
			_, err = t.exec(sqlDropCopies, set.no, string(volume))
		}
		if err != nil || touched == 0 {
			return err
		}
		return t.audit(unix(c.now()), "erase", id, detail)
	})
}

func (t *tx) audit(now int64, action string, id capstan.SetID, detail string) error {
	_, err := t.exec(sqlInsertAudit, now, action, string(id), detail)
	return err
}
