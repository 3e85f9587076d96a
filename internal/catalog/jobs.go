package catalog

import (
	"context"
	"database/sql"

	"capstan"
)

// Job is a job as the catalog knows it.
type Job struct {
	Key     capstan.JobKey
	Name    string   // of a configured job; empty for an ad hoc one
	Sources []string // specs, in order
	Volumes []string // locations
}

// EnsureJob records a job, or what changed of it. It may be repeated.
func (c *Catalog) EnsureJob(ctx context.Context, key capstan.JobKey, name string, sources, volumes []string) error {
	from, err := encodeList(sources)
	if err != nil {
		return err
	}
	to, err := encodeList(volumes)
	if err != nil {
		return err
	}
	// Most runs change nothing, and reading waits for nobody.
	same, err := one(ctx, c.reads, sqlSameJob, with(string(key), name, from, to), new(int64))
	if err != nil || same {
		return c.failed(ctx, "record job", err)
	}
	return c.write(ctx, "record job", func(t *tx) error {
		return t.updateOrInsert(sqlUpdateJob, sqlInsertJob, name, from, to, unix(c.now()), string(key))
	})
}

// updateOrInsert runs the update, and where it touched nothing the insert, with
// the same arguments. The write transaction keeps others from coming between.
func (t *tx) updateOrInsert(update, insert string, args ...any) error {
	touched, err := t.exec(update, args...)
	if err != nil || touched > 0 {
		return err
	}
	_, err = t.exec(insert, args...)
	return err
}

// Jobs lists the jobs by key.
func (c *Catalog) Jobs(ctx context.Context) ([]Job, error) {
	var jobs []Job
	err := each(ctx, c.reads, sqlJobs, nil, func(rows *sql.Rows) error {
		var job Job
		var sources, volumes string
		err := rows.Scan(&job.Key, &job.Name, &sources, &volumes)
		if err == nil {
			job.Sources, err = decodeList(sources)
		}
		if err == nil {
			job.Volumes, err = decodeList(volumes)
		}
		jobs = append(jobs, job)
		return err
	})
	return jobs, c.failed(ctx, "list jobs", err)
}
