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

// chooseJobs decides how many sessions read.
func (d *dump) chooseJobs(ctx context.Context) {
	if d.options.Jobs == 0 {
		d.options.Jobs, d.jobsWhy = d.fitJobs(ctx)
	}
	if most := d.options.MostJobs; most > 0 && most < d.options.Jobs {
		d.options.Jobs, d.jobsWhy = most, "the memory is enough for no more (--memory)"
	}
	if d.jobsWhy != "" {
		d.env.Say("%d sessions read, no more: %s", d.options.Jobs, d.jobsWhy)
	}
}

// fitJobs fits them to the cores and the server's load. What cannot be found out counts
// as a server that has nothing else to do.
func (d *dump) fitJobs(ctx context.Context) (jobs int, why string) {
	load := pg.Load{Free: besideJobs + 1<<10}
	if rows, err := d.monitor.texts(ctx, pg.LoadQuery); err == nil && len(rows) == 1 {
		active, wrong := strconv.Atoi(rows[0][0])
		free, wrongToo := strconv.Atoi(rows[0][1])
		if wrong == nil && wrongToo == nil {
			load = pg.Load{Active: active, Free: free + 1} // the session that asks is one of ours
		}
	}
	return pg.FitJobs(runtime.NumCPU(), load, besideJobs)
}
