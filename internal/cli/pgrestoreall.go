package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"capstan"
	"capstan/internal/daemon"
	"capstan/internal/disk"
	"capstan/internal/dumpall"
	"capstan/internal/output"
	"capstan/internal/pgdump"
	"capstan/internal/pipeline"
	"capstan/internal/progress"
	"capstan/internal/target/postgres"
)

// allRestored is what became of a restore of several databases, as --json tells it.
type allRestored struct {
	Type      string                   `json:"type"`
	Status    string                   `json:"status"`
	Globals   *postgres.GlobalsSummary `json:"globals,omitempty"`
	Databases []dumpall.Restored       `json:"databases"`
	Missing   []string                 `json:"missing,omitempty"`
}

// pgRestoreAll restores a directory of dumps.
func (a *app) pgRestoreAll(ctx context.Context, options postgres.Options, roles globalsFlags) error {
	found, missing, err := dumpall.Find(options.Dir)
	if err != nil {
		return err
	}
	content, name, err := globalsBeside(options.Dir)
	if err != nil && (roles.too || !errors.Is(err, capstan.ErrNotFound)) {
		return err
	}
	var all []dumpall.Wanted
	for _, f := range found {
		all = append(all, dumpall.Wanted{Name: f.Name, Bring: func(ctx context.Context, _ postgres.Options, work func(context.Context, string) error) error {
			return work(ctx, f.Dir)
		}})
	}
	tracker := progress.New(nil)
	return a.shown(ctx, tracker, view, func(ctx context.Context) error {
		return a.restoreAll(ctx, tracker, options, roles, content, name, all, missing)
	})
}

// pgRestoreAllSet restores all dumps of a set, each brought to the stage in its turn.
func (a *app) pgRestoreAllSet(ctx context.Context, d *daemon.Daemon, name string, options postgres.Options, roles globalsFlags, from *setDumpFlags) error {
	set, err := a.set(ctx, d, name)
	if err != nil {
		return err
	}
	content, at, err := d.Engine.Globals(ctx, set.ID, "")
	if err != nil && (roles.too || !errors.Is(err, capstan.ErrNotFound)) {
		return err
	}
	paths, err := d.Engine.Dumps(ctx, set.ID)
	if err != nil {
		return err
	}
	var all []dumpall.Wanted
	for _, path := range paths {
		files, err := d.Engine.OpenDump(ctx, set.ID, path)
		if err != nil {
			return err
		}
		dump, err := pgdump.Open(files)
		if err != nil {
			return err
		}
		own := *from
		own.database = path
		all = append(all, dumpall.Wanted{Name: dump.Database.Value, Bring: func(ctx context.Context, options postgres.Options, work func(context.Context, string) error) error {
			return a.fetched(ctx, d, pipeline.FetchDump{Set: set.ID, Wanted: options.Files}, &own, func(ctx context.Context, fetched pipeline.Fetched, err error) error {
				if err != nil {
					return err
				}
				return work(ctx, fetched.Dir)
			})
		}})
	}
	if len(all) == 0 {
		return &capstan.Error{Class: capstan.ErrNotFound, Op: "dumps in set", Object: string(set.ID), Err: errors.New("it holds no whole dump of a database"), Next: "see: capstan ls " + string(set.ID)}
	}
	return a.restoreAll(ctx, d.Tracker, options, roles, content, string(set.ID)+" "+at, all, nil)
}

// restoreAll restores roles, then the databases, and names what the dumps lack.
func (a *app) restoreAll(ctx context.Context, tracker *progress.Tracker, options postgres.Options, roles globalsFlags, content []byte, name string, all []dumpall.Wanted, missing []string) error {
	env := postgres.Env{Disk: disk.FS{}, Tracker: tracker, Say: a.printer.Info, Warn: a.printer.Warn}
	result := allRestored{Type: "summary", Status: dumpall.Complete, Missing: missing, Databases: []dumpall.Restored{}}
	if err := dumpall.Vacant(ctx, options, all); err != nil {
		return err
	}
	var differ error
	if roles.wanted() && content != nil {
		globals, err := postgres.Globals(ctx, env, roles.options(options, content, name))
		result.Globals = &globals
		if err != nil && !errors.Is(err, capstan.ErrIncomplete) {
			return err
		}
		differ = err
	}
	results, err := dumpall.Restore(ctx, env, options, all)
	result.Databases = append(result.Databases, results...)
	if len(missing) > 0 {
		differ = errors.Join(differ, &capstan.Error{Class: capstan.ErrIncomplete, Op: "restore", Object: "all databases", Err: fmt.Errorf("the dump is not whole: %s", output.Clean(strings.Join(missing, "; "))), Safe: "what it holds was restored"})
	}
	if err = errors.Join(differ, err); err != nil {
		result.Status = dumpall.Partial
	}
	a.finish(ctx, restoreAllText(result), result)
	return err
}

func restoreAllText(r allRestored) string {
	var b strings.Builder
	if r.Globals != nil {
		b.WriteString(globalsText(*r.Globals))
	}
	for _, d := range r.Databases {
		if d.Status == dumpall.Failed {
			fmt.Fprintf(&b, "database %s: not restored: %s\n", output.Clean(d.Database), output.Clean(d.Error))
			continue
		}
		b.WriteString(pgRestoreText(d.Summary))
	}
	return b.String()
}
