package pgserver

import (
	"context"
	"errors"
	"fmt"

	"capstan/internal/pg"
	"capstan/internal/pgdata"
	"capstan/internal/pgslot"
	"capstan/internal/progress"
)

// Purge removes the spill files of all quarantines of a cluster whose server has come
// up since, or is up now with the slot as it was. It is refused for one whose server
// has not; nothing is purged then. Files beside the spill files stay, and are named.
func Purge(ctx context.Context, env Env, cluster *pg.Cluster, where pgslot.Where, options pgslot.PurgeOptions) (done []pgslot.Purged, err error) {
	env = env.filled()
	place, err := Slots(ctx, env, cluster)
	if err != nil {
		return nil, err
	}
	root := where.Path(cluster.Dir)
	known, err := place.Records(ctx, root)
	if err != nil || len(known) == 0 {
		return nil, err
	}
	where.Inside = where.Inside || root == pgslot.InsideRoot(cluster.Dir)
	release, err := place.Lock(where)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	records := known
	if !options.DryRun {
		if records, err = place.Settle(ctx, root); err != nil {
			return nil, err
		}
	}
	for i := range records {
		if err := proven(ctx, cluster, place, &records[i]); err != nil {
			return nil, err
		}
	}
	stage := env.Tracker.Stage("purge")
	stage.Begin()
	defer stage.End()
	for i := range records {
		r := &records[i]
		if r.Step == pgslot.StepPurged {
			continue
		}
		stage.Object(r.Path())
		options.Progress = func(int64) { stage.Moved(0, 1) }
		if !options.DryRun {
			env.Step("purge " + r.Slot)
		}
		purged, err := place.Purge(ctx, r, options)
		done = append(done, purged)
		if !options.DryRun && purged.Files > 0 {
			env.didAs(ctx, "pg spill purge", cluster, "slot %s: %d spill files removed from %s", r.Slot, purged.Files, r.Path())
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// proven sees to it that a quarantine may be purged: its server came up since, or is
// up now.
func proven(ctx context.Context, cluster *pg.Cluster, place *pgslot.Place, r *pgslot.Record) error {
	if r.Step != pgslot.StepMoved {
		return nil // or one for Place.Purge to refuse
	}
	server, err := cluster.Server()
	if err != nil {
		return err
	}
	up := server.Presence == pg.Alive && (server.File.Status == pgdata.StatusReady || server.File.Status == pgdata.StatusStandby)
	if !up {
		return refused("purge", r.Path(), errors.New("the server has not come up since the slot was quarantined"), "start it: capstan pg start -D "+cluster.Dir)
	}
	if err := place.Started(ctx, r); err != nil {
		return refused("purge", r.Path(), err, "see: capstan pg slot-doctor -D "+cluster.Dir)
	}
	return nil
}

// Doctor examines the slots of a cluster and, with repair, does what is safe about
// what it finds. Findings that are left are no error. A repair in pg_replslot is
// refused while a server lives; nothing is touched then.
func Doctor(ctx context.Context, env Env, cluster *pg.Cluster, where pgslot.Where, repair bool) (findings []pgslot.Finding, err error) {
	env = env.filled()
	place, err := Slots(ctx, env, cluster)
	if err != nil {
		return nil, err
	}
	stage := env.Tracker.Stage("slots")
	stage.Begin()
	defer stage.End()
	defer stage.Wait(progress.ForSource, cluster.Dir)()
	findings, err = place.Examine(ctx, where)
	if err != nil || !repair {
		return findings, err
	}
	repairs := 0
	for i := range findings {
		if findings[i].Repair != "" {
			repairs++
		}
	}
	if repairs == 0 {
		return findings, nil
	}
	if err := place.Idle(); err != nil {
		return findings, refused("repair slots of", cluster.Dir, err, "stop the server first: capstan pg stop -D "+cluster.Dir)
	}
	release, err := place.Lock(where)
	if err != nil {
		return findings, err
	}
	defer func() { err = errors.Join(err, release()) }()
	var failures []error
	for i := range findings {
		f := &findings[i]
		if f.Repair == "" {
			continue
		}
		env.Step(fmt.Sprintf("repair %s", f.Kind))
		if err := place.Repair(ctx, f, where); err != nil {
			failures = append(failures, err)
			continue
		}
		env.didAs(ctx, "pg slot-doctor", cluster, "%s: %s: %s", f.Path, f.Kind, f.Repair)
	}
	return findings, errors.Join(failures...)
}
