package postgres

import (
	"context"
	"runtime"
	"strconv"

	"capstan/internal/pg"
)

// besideJobs are the sessions of a dump that read no tables: those that look, that
// guard, and that read large objects.
const besideJobs = 3

// chooseJobs decides how many sessions read when nobody said so. What cannot be found
// out counts as a server that has nothing else to do.
func (d *dump) chooseJobs(ctx context.Context) {
	if d.options.Jobs > 0 {
		return
	}
	load := pg.Load{Free: besideJobs + 1<<10}
	if rows, err := d.monitor.texts(ctx, pg.LoadQuery); err == nil && len(rows) == 1 {
		active, wrong := strconv.Atoi(rows[0][0])
		free, wrongToo := strconv.Atoi(rows[0][1])
		if wrong == nil && wrongToo == nil {
			load = pg.Load{Active: active, Free: free + 1} // the session that asks is one of ours
		}
	}
	d.options.Jobs, d.jobsWhy = pg.FitJobs(runtime.NumCPU(), load, besideJobs)
	if d.jobsWhy != "" {
		d.env.Say("%d sessions read, fewer than there are cores for: %s", d.options.Jobs, d.jobsWhy)
	}
}
