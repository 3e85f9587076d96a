package cli

import (
	"context"

	"github.com/spf13/pflag"

	"capstan/internal/config"
	"capstan/internal/daemon"
	"capstan/internal/source/postgres"
	"capstan/internal/stage"
)

// databaseFlags say how databases are dumped.
type databaseFlags struct {
	config.Database
	flags *pflag.FlagSet
}

// databaseFlagNames are those of addWhole.
var databaseFlagNames = [...]string{
	"table", "exclude-table", "schema", "exclude-schema", "exclude-table-data", "include-foreign-data", "first", "lock-timeout", "lock-wait", "jobs", "pg-dump", "pause-replay", "all-databases", "globals",
}

// addWhole declares those of a backup alone.
func (d *databaseFlags) addWhole(f *pflag.FlagSet) {
	d.add(f)
	f.BoolVar(&d.All, "all-databases", false, "all databases of the server, and its roles")
	f.BoolVar(&d.Globals, "globals", false, "the server's roles and tablespaces as well, as globals.sql")
}

// add declares them.
func (d *databaseFlags) add(f *pflag.FlagSet) {
	d.flags = f
	f.IntVar(&d.Sessions, "jobs", 0, "of a database: sessions that read data (default as many as there are cores, at most 4, fewer at a busy server)")
	f.DurationVar(&d.LockTimeout, "lock-timeout", postgres.DefaultLockTimeout, "how long to wait for one table before all are let go for a moment; less than the server's deadlock_timeout")
	f.DurationVar(&d.LockWait, "lock-wait", postgres.DefaultLockWait, "give up when not all tables could be locked for this long")
	f.StringArrayVar(&d.Tables, "table", nil, "only tables that match; may be repeated")
	f.StringArrayVar(&d.ExcludeTables, "exclude-table", nil, "no tables that match; may be repeated")
	f.StringArrayVar(&d.Schemas, "schema", nil, "only schemas that match; may be repeated")
	f.StringArrayVar(&d.ExcludeSchemas, "exclude-schema", nil, "no schemas that match; may be repeated")
	f.StringArrayVar(&d.ExcludeTableData, "exclude-table-data", nil, "the definition, not the data of tables that match; may be repeated")
	f.StringArrayVar(&d.IncludeForeignData, "include-foreign-data", nil, "the rows of foreign tables too, of foreign servers that match; may be repeated")
	f.StringArrayVar(&d.First, "first", nil, "read and release this table before the others (schema.table or table, with * and ?); may be repeated")
	f.BoolVar(&d.PauseReplay, "pause-replay", false, "on a standby: pause the replay until everything is read (needs EXECUTE on pg_wal_replay_pause and _resume)")
	f.StringVar(&d.PgDump, "pg-dump", "", "path of the pg_dump to use (default the one that fits the server, from PATH or where packages put it)")
}

// given reports whether one of them was.
func (d *databaseFlags) given() bool { return d.example() != "" }

// example is the first of them that was given.
func (d *databaseFlags) example() string {
	for _, name := range databaseFlagNames {
		if d.flags.Changed(name) {
			return "--" + name
		}
	}
	return ""
}

// complete takes the job's value for every flag that was not given.
func (d *databaseFlags) complete(from config.Database, given func(flag string) bool) {
	for flag, take := range map[string]func(){
		"table":                func() { d.Tables = from.Tables },
		"exclude-table":        func() { d.ExcludeTables = from.ExcludeTables },
		"schema":               func() { d.Schemas = from.Schemas },
		"exclude-schema":       func() { d.ExcludeSchemas = from.ExcludeSchemas },
		"exclude-table-data":   func() { d.ExcludeTableData = from.ExcludeTableData },
		"include-foreign-data": func() { d.IncludeForeignData = from.IncludeForeignData },
		"pause-replay":         func() { d.PauseReplay = from.PauseReplay },
		"first":                func() { d.First = from.First },
		"lock-timeout":         func() { d.LockTimeout = from.LockTimeout },
		"lock-wait":            func() { d.LockWait = from.LockWait },
		"jobs":                 func() { d.Sessions = from.Sessions },
		"pg-dump":              func() { d.PgDump = from.PgDump },
		"all-databases":        func() { d.All = from.All },
		"globals":              func() { d.Globals = from.Globals },
	} {
		if !given(flag) {
			take()
		}
	}
}

// into says it to the dump.
func (d *databaseFlags) into(o *postgres.Options) {
	o.Tables, o.ExcludeTables, o.Schemas, o.ExcludeSchemas, o.ExcludeTableData = d.Tables, d.ExcludeTables, d.Schemas, d.ExcludeSchemas, d.ExcludeTableData
	o.First, o.LockTimeout, o.LockWait, o.Jobs, o.PgDump = d.First, d.LockTimeout, d.LockWait, d.Sessions, d.PgDump
	o.IncludeForeignData, o.PauseReplay = d.IncludeForeignData, d.PauseReplay
}

// source are the options of the databases among a backup's sources.
func (d *databaseFlags) source(home *daemon.Daemon, plan *delivery) daemon.DatabaseOptions {
	o := daemon.DatabaseOptions{
		All: d.All, Globals: d.Globals,
		Stage: func(ctx context.Context) (*stage.Stage, error) { return home.Stage(ctx, plan.stage, plan.size) },
	}
	d.into(&o.Dump)
	return o
}
