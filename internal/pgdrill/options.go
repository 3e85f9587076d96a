package pgdrill

import (
	"context"
	"fmt"
	"time"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pg"
	"capstan/internal/progress"
)

// Env is what a drill works with.
type Env struct {
	Disk    disk.FS
	Tracker *progress.Tracker
	// Say and Warn tell people; they do not block.
	Say, Warn func(format string, args ...any)
	// Step is called before each step with its name and the URL of the database, empty
	// while there is none. Tests do harm there; nil otherwise.
	Step func(ctx context.Context, name, url string)
}

// Options say what is drilled, and where.
type Options struct {
	Dir string // of the dump
	// Name is how the dump is called in the Summary; empty: by its directory.
	Name string
	// Globals is a file with the roles of the dumped server, as pg_dumpall writes them;
	// empty: pgdump.Globals in Dir, if there is one. A given server gets none.
	Globals string
	// Server is the URL of a running server to make a database in, which is dropped
	// afterwards; empty: one is made for the drill.
	Server string
	// Scratch, Bin, RunAs and Settings are those of pgscratch.Options: Dir, Bin, User.
	Scratch, Bin, RunAs string
	Settings            []string
	Notes               string // that of pgscratch.Options
	Jobs                int    // of the restore and of the comparison; 0 as target/postgres has it
	PgRestore           string // the program; empty: one that fits is looked for
	// StallWarn and StallFail are how long the drill may stand still until people are
	// told, and until it is ended; 0 means for ever.
	StallWarn, StallFail time.Duration
}

func (o Options) complete() (Options, error) {
	wrong := func(format string, args ...any) (Options, error) {
		return o, &capstan.Error{Class: capstan.ErrUsage, Op: "drill", Err: fmt.Errorf(format, args...)}
	}
	if o.Dir == "" {
		return wrong("no dump is named")
	}
	if o.Name == "" {
		o.Name = o.Dir
	}
	if o.Server != "" && (o.Scratch != "" || o.Bin != "" || o.RunAs != "" || len(o.Settings) > 0) {
		return wrong("a given server (--server) is not made: --scratch, --bindir, --run-as and --set are for one that is")
	}
	if o.Server != "" && o.Globals != "" {
		return wrong("no roles are made at a given server (--server): leave --globals out")
	}
	if o.StallWarn < 0 || o.StallFail < 0 {
		return wrong("a time to stand still is not negative")
	}
	var err error
	if o.Jobs, err = pg.Jobs(o.Jobs); err != nil {
		return wrong("%w", err)
	}
	return o, nil
}
