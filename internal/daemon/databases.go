package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pipeline"
	"capstan/internal/progress"
	"capstan/internal/source/dumps"
	"capstan/internal/source/postgres"
	"capstan/internal/stage"
)

// DatabaseOptions say how the databases among the sources are read.
type DatabaseOptions struct {
	Dump         postgres.Options // but for the URL
	All, Globals bool             // see dumps.Options
	// Stage opens the stage in which the data waits to be packed; nil: the home's.
	Stage func(ctx context.Context) (*stage.Stage, error)
}

// AnyDatabase reports whether one of the sources that the user named is a database.
func AnyDatabase(specs []string) bool {
	return slices.ContainsFunc(specs, dumps.Is)
}

// Shown is what the user named as a source, without a password.
func Shown(spec string) string {
	if !dumps.Is(spec) {
		return spec
	}
	rest, _, err := pg.Split(spec)
	if err != nil {
		return "(a malformed connection URL)"
	}
	return rest
}

// AllShown is Shown of several, in one line.
func AllShown(specs []string) string {
	all := make([]string, len(specs))
	for i, spec := range specs {
		all[i] = Shown(spec)
	}
	return strings.Join(all, ", ")
}

// database makes a source of a database, under a name that no other source has.
func (d *Daemon) database(spec string, used map[string]bool, options DatabaseOptions) (capstan.Source, error) {
	o := dumps.Options{
		Dump: options.Dump, All: options.All, Globals: options.Globals, Memory: d.Engine.Memory, Stage: options.Stage,
		Tracker: d.Tracker, Say: d.say, Warn: d.warn,
		Waiting: func(on progress.Resource) func() { return d.Tracker.Stage(pipeline.StageScan).Wait(on, "") },
	}
	o.Dump.URL = spec
	if o.Stage == nil {
		o.Stage = func(ctx context.Context) (*stage.Stage, error) { return d.Stage(ctx, "", 0) }
	}
	source, err := dumps.New(o)
	if err != nil {
		return nil, err
	}
	name := source.Name()
	for n := 2; used[name]; n++ {
		name = fmt.Sprintf("%s-%d", source.Name(), n)
	}
	if name != source.Name() {
		d.say("source %s is stored as %q: %q is taken by another source", source.Spec(), name, source.Name())
		o.Name = name
		if source, err = dumps.New(o); err != nil {
			return nil, err
		}
	}
	used[name] = true
	return source, nil
}

// SpoolRoom takes room for n bytes of a dump that is brought out of a set, and says
// what is missing.
func SpoolRoom(ctx context.Context, spool *stage.Spool, n capstan.Bytes) error {
	ok, err := spool.Take(ctx, n)
	if err == nil && !ok {
		err = &capstan.Error{
			Class: capstan.ErrNoSpace, Op: "bring the dump to", Object: spool.Dir(), Err: fmt.Errorf("it needs %s, and half of the stage is %s", n, spool.Room()),
			Safe: "nothing was written, and no database changed", Next: "enlarge it with --stage-size, name a larger disk with --stage, or choose tables with --table",
		}
	}
	return err
}
