package catalog

import (
	"context"
	"database/sql"

	"capstan"
)

// SetFilter chooses sets.
type SetFilter struct {
	Job   capstan.JobKey // empty: of all jobs
	Limit int            // the newest so many; 0: all
}

// SetInfo is a set with what is known of its archives and copies.
type SetInfo struct {
	capstan.Set
	Archives  int           // committed ones
	Size      capstan.Bytes // of the committed archives, on one volume
	Copies    []SetCopies   // by volume
	Forgotten bool          // by Forget: it was let go, and its bytes are about to be removed
}

// SetCopies says in which states the archives of a set are on one volume.
type SetCopies struct {
	Volume capstan.VolumeID
	States map[capstan.CopyState]int
}

// Sets lists the sets, newest first: a consolidated one comes right before the one
// whose tree it holds.
func (c *Catalog) Sets(ctx context.Context, filter SetFilter) ([]SetInfo, error) {
	sets, err := c.sets(ctx, filter)
	return sets, c.failed(ctx, "list sets", err)
}

func (c *Catalog) sets(ctx context.Context, filter SetFilter) ([]SetInfo, error) {
	var rows []setRow
	var err error
	if filter.Job == "" {
		rows, err = readSets(ctx, c.reads, sqlSets)
	} else {
		rows, err = readSets(ctx, c.reads, sqlSetsOfJob, string(filter.Job))
	}
	if err != nil {
		return nil, err
	}
	if filter.Limit > 0 {
		rows = rows[:min(filter.Limit, len(rows))]
	}
	sets := make([]SetInfo, len(rows))
	at := make(map[int64]*SetInfo, len(rows))
	for i, row := range rows {
		sets[i] = SetInfo{Set: row.set, Forgotten: !row.forgotten.IsZero()}
		at[row.no] = &sets[i]
	}
	err = each(ctx, c.reads, sqlArchiveTotals, nil, func(rows *sql.Rows) error {
		var no, archives, size int64
		if err := rows.Scan(&no, &archives, &size); err != nil {
			return err
		}
		if set := at[no]; set != nil {
			set.Archives, set.Size = int(archives), capstan.Bytes(size)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sets, each(ctx, c.reads, sqlCopyTotals, nil, func(rows *sql.Rows) error {
		var no int64
		var volume capstan.VolumeID
		var state capstan.CopyState
		var n int
		if err := rows.Scan(&no, &volume, &state, &n); err != nil {
			return err
		}
		if set := at[no]; set != nil {
			set.addCopies(volume, state, n)
		}
		return nil
	})
}

// addCopies relies on the order of volumes.
func (s *SetInfo) addCopies(volume capstan.VolumeID, state capstan.CopyState, n int) {
	if last := len(s.Copies) - 1; last < 0 || s.Copies[last].Volume != volume {
		s.Copies = append(s.Copies, SetCopies{Volume: volume, States: map[capstan.CopyState]int{}})
	}
	s.Copies[len(s.Copies)-1].States[state] += n
}

// Set gives one set; capstan.ErrNotFound if there is none of that id.
func (c *Catalog) Set(ctx context.Context, id capstan.SetID) (capstan.Set, error) {
	row, err := c.findSet(ctx, id)
	return row.set, c.failed(ctx, "set "+string(id), err)
}

// Latest gives the newest set that is complete or partial and not forgotten, of
// the job or, if that is empty, of all; capstan.ErrNotFound if there is none.
func (c *Catalog) Latest(ctx context.Context, job capstan.JobKey) (capstan.Set, error) {
	var rows []setRow
	var err error
	if job == "" {
		rows, err = readSets(ctx, c.reads, sqlLatest)
	} else {
		rows, err = readSets(ctx, c.reads, sqlLatestOfJob, string(job))
	}
	if err == nil && len(rows) == 0 {
		err = unknownSet("latest")
	}
	if err != nil {
		return capstan.Set{}, c.failed(ctx, "latest set", err)
	}
	return rows[0].set, nil
}

// OpenSets lists the sets of a job that a run left unfinished (running or
// interrupted), newest first. Under the job's lock nobody else writes them, so
// the next run may adopt one.
func (c *Catalog) OpenSets(ctx context.Context, job capstan.JobKey) ([]capstan.Set, error) {
	rows, err := readSets(ctx, c.reads, sqlOpenSets, string(job))
	if err != nil {
		return nil, c.failed(ctx, "list unfinished sets", err)
	}
	sets := make([]capstan.Set, len(rows))
	for i, row := range rows {
		sets[i] = row.set
	}
	return sets, nil
}
