package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/daemon"
	"capstan/internal/pgdump"
	"capstan/internal/pipeline"
	"capstan/internal/progress"
	"capstan/internal/stage"
	"capstan/internal/target/postgres"
)

// setDumpFlags say which dump of a set is meant, and where it is brought to.
type setDumpFlags struct {
	database string
	keys     keyFlags
	deliver  deliverFlags
}

func (s *setDumpFlags) add(cmd *cobra.Command, fetches bool) {
	f := cmd.Flags()
	f.StringVar(&s.database, "database", "", "which dump of a set, or of a directory of several, as capstan ls shows its directory (default the only one)")
	s.keys.add(cmd)
	if fetches {
		s.deliver.addPatience(f)
		f.StringVar(&s.deliver.stage, "stage", "", "bring a set's dump to this stage, and restore it from there (default: in the home)")
		f.StringVar(&s.deliver.stageSize, "stage-size", "", "the most that the stage may hold, half of it for the dump (default 80 % of what is free there)")
	}
}

// isSet tells a set from a directory with a dump.
func isSet(arg string) bool {
	if _, err := os.Stat(filepath.Join(arg, pgdump.TOC)); err == nil {
		return false
	}
	_, err := capstan.ParseSetID(arg)
	return arg == "latest" || err == nil
}

func (a *app) pgLsSet(ctx context.Context, d *daemon.Daemon, name string, from *setDumpFlags) error {
	set, err := a.set(ctx, d, name)
	if err != nil {
		return err
	}
	paths := []string{from.database}
	if from.database == "" {
		if paths, err = d.Engine.Dumps(ctx, set.ID); err != nil {
			return err
		}
		if len(paths) == 0 {
			paths = []string{""} // whose error says it
		}
	}
	for _, path := range paths {
		at, err := d.Engine.OpenDump(ctx, set.ID, path)
		if err != nil {
			return err
		}
		dump, err := pgdump.Open(at)
		if err == nil {
			err = a.pgLs(dump)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) pgCatSet(ctx context.Context, d *daemon.Daemon, args []string, csv bool, from *setDumpFlags) error {
	set, err := a.set(ctx, d, args[0])
	if err != nil {
		return err
	}
	at, err := d.Engine.OpenDump(ctx, set.ID, from.database)
	if err != nil {
		return err
	}
	dump, err := pgdump.Open(at)
	if err != nil {
		return err
	}
	table, err := dump.Table(args[1])
	if err != nil {
		return err
	}
	return a.pgCat(ctx, dump, table, csv)
}

// pgRestoreSet brings what is wanted of a set's dump to the stage, where it is proven,
// and restores it from there.
func (a *app) pgRestoreSet(ctx context.Context, d *daemon.Daemon, name string, options postgres.Options, roles globalsFlags, from *setDumpFlags) (err error) {
	set, err := a.set(ctx, d, name)
	if err != nil {
		return err
	}
	var content []byte
	at := ""
	if roles.wanted() {
		if content, at, err = d.Engine.Globals(ctx, set.ID, from.database); err != nil {
			return err
		}
		at = string(set.ID) + " " + at
	}
	if roles.only {
		return a.live(ctx, d, func(ctx context.Context) error { return a.pgRestoreDir(ctx, d.Tracker, options, roles, content, at) })
	}
	return a.fetched(ctx, d, pipeline.FetchDump{Set: set.ID, Wanted: options.Files}, from, func(ctx context.Context, fetched pipeline.Fetched, err error) error {
		if err != nil {
			return err
		}
		options.Dir = fetched.Dir
		return a.pgRestoreDir(ctx, d.Tracker, options, roles, content, at)
	})
}

// fetched brings a dump to the stage and works with it there, with its progress shown.
// The work is also told why the dump could not be brought whole.
func (a *app) fetched(ctx context.Context, d *daemon.Daemon, job pipeline.FetchDump, from *setDumpFlags, work func(context.Context, pipeline.Fetched, error) error) (err error) {
	if job.Patience, err = from.deliver.patience(); err != nil {
		return err
	}
	size, err := from.deliver.size()
	if err != nil {
		return err
	}
	area, err := d.Stage(ctx, from.deliver.stage, size)
	if err != nil {
		return err
	}
	return a.live(ctx, d, func(ctx context.Context) error { return a.spooled(ctx, d, area, job, from.database, work) })
}

// spooled is fetched with a stage that is open.
func (a *app) spooled(ctx context.Context, d *daemon.Daemon, area *stage.Stage, job pipeline.FetchDump, database string, work func(context.Context, pipeline.Fetched, error) error) (err error) {
	waiting := d.Tracker.Stage("restore")
	spool, err := area.NewSpool(ctx, func(detail string) func() { return waiting.Wait(progress.ForSpace, detail) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, spool.Close(ctx)) }()
	job.Database, job.Dir = database, spool.Dir()
	job.Room = func(ctx context.Context, n capstan.Bytes) error { return daemon.SpoolRoom(ctx, spool, n) }
	fetched, err := d.Engine.FetchDump(ctx, job)
	return work(ctx, fetched, err)
}
