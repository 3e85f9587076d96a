package catalog

import (
	"context"
	"database/sql"
	"slices"

	"capstan"
	"capstan/internal/policy"
)

// holding is what is known of where the sets of a job lie.
type holding struct {
	demands  map[int64]map[capstan.VolumeID]capstan.CopyState
	archives map[int64][]int64                             // committed ones
	good     map[int64]map[int64]map[capstan.VolumeID]bool // copies, by set and archive
}

func holdings(ctx context.Context, from queries, job capstan.JobKey) (h holding, err error) {
	h = holding{
		demands: map[int64]map[capstan.VolumeID]capstan.CopyState{}, archives: map[int64][]int64{},
		good: map[int64]map[int64]map[capstan.VolumeID]bool{},
	}
	var no, number int64
	var volume capstan.VolumeID
	var state capstan.CopyState
	err = each(ctx, from, sqlDemandsOfJob, with(string(job)), func(rows *sql.Rows) error {
		err := rows.Scan(&no, &volume, &state)
		if h.demands[no] == nil {
			h.demands[no] = map[capstan.VolumeID]capstan.CopyState{}
		}
		h.demands[no][volume] = state
		return err
	})
	if err != nil {
		return h, err
	}
	err = each(ctx, from, sqlArchivesOfJob, with(string(job)), func(rows *sql.Rows) error {
		err := rows.Scan(&no, &number)
		h.archives[no] = append(h.archives[no], number)
		return err
	})
	if err != nil {
		return h, err
	}
	return h, each(ctx, from, sqlGoodOfJob, with(string(job)), func(rows *sql.Rows) error {
		err := rows.Scan(&no, &number, &volume)
		if h.good[no] == nil {
			h.good[no] = map[int64]map[capstan.VolumeID]bool{}
		}
		if h.good[no][number] == nil {
			h.good[no][number] = map[capstan.VolumeID]bool{}
		}
		h.good[no][number][volume] = true
		return err
	})
}

// wanted reports whether a set shall lie on a volume that is in.
func (h *holding) wanted(no int64, in func(capstan.VolumeID) bool) bool {
	for volume, state := range h.demands[no] {
		if state != capstan.CopyForgotten && in(volume) {
			return true
		}
	}
	return false
}

// whole reports whether the volumes that are in have all archives of a set together.
func (h *holding) whole(no int64, in func(capstan.VolumeID) bool) bool {
	for _, number := range h.archives[no] {
		found := false
		for volume := range h.good[no][number] {
			found = found || in(volume)
		}
		if !found {
			return false
		}
	}
	return true
}

// within narrows the sets of a job, with their numbers, to those that some volumes hold,
// as these alone hold them. What another volume's sets need of them is marked.
func (h *holding) within(sets []policy.Set, numbers []int64, volumes []capstan.VolumeID) (narrow []policy.Set) {
	inside := func(v capstan.VolumeID) bool { return slices.Contains(volumes, v) }
	outside := func(v capstan.VolumeID) bool { return !inside(v) }
	at := map[capstan.SetID]int{}
	for i := range sets {
		at[sets[i].ID] = i
	}
	needed := map[capstan.SetID]capstan.SetID{}
	for i := range sets {
		if !h.wanted(numbers[i], outside) {
			continue
		}
		base := sets[i].Base
		for range sets { // a ring is damage
			j, known := at[base]
			if !known {
				break
			}
			if needed[base] == "" && !h.whole(numbers[j], outside) {
				needed[base] = sets[i].ID
			}
			base = sets[j].Base
		}
	}
	for i, s := range sets {
		if !h.wanted(numbers[i], inside) {
			continue
		}
		s.Whole, s.Needed = h.whole(numbers[i], inside), needed[s.ID]
		s.On = slices.DeleteFunc(slices.Clone(s.On), outside)
		narrow = append(narrow, s)
	}
	return narrow
}

// letGo lets a set go on some volumes. Where it is wanted on no other, it is forgotten.
func (t *tx) letGo(id capstan.SetID, volumes []capstan.VolumeID, detail string, now int64) error {
	no, err := t.setNo(id)
	if err != nil {
		return err
	}
	elsewhere := false
	err = each(t.ctx, t, sqlDemands, with(no), func(rows *sql.Rows) error {
		var d capstan.Demand
		err := rows.Scan(&d.Volume, &d.State)
		elsewhere = elsewhere || d.State != capstan.CopyForgotten && !slices.Contains(volumes, d.Volume)
		return err
	})
	if err != nil {
		return err
	}
	if len(volumes) == 0 || !elsewhere {
		return t.forget(id, detail, now)
	}
	for _, volume := range volumes {
		touched, err := t.exec(sqlReleaseDemand, no, string(volume))
		if err == nil && touched > 0 {
			_, err = t.exec(sqlReleaseCopies, now, no, string(volume))
		}
		if err == nil && touched > 0 {
			_, err = t.exec(sqlRelease, no, string(volume))
		}
		if err == nil && touched > 0 {
			err = t.audit(now, "forget", id, detail+", on volume "+string(volume))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// released lists the sets that volumes are to lose, and that stay on others.
func (c *Catalog) released(ctx context.Context, job capstan.JobKey) (sets []ForgottenSet, err error) {
	err = each(ctx, c.reads, sqlReleased, nil, func(rows *sql.Rows) error {
		var started int64
		var volume capstan.VolumeID
		s := ForgottenSet{Kept: true}
		err := rows.Scan(&s.ID, &s.Job, &s.Claim, &started, &volume)
		s.Started, s.Volumes = fromUnix(started), []capstan.VolumeID{volume}
		if job == "" || s.Job == job {
			sets = append(sets, s)
		}
		return err
	})
	return sets, err
}
