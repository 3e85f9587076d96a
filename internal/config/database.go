package config

import (
	"regexp"
	"slices"
	"time"
)

// Database says how the databases among a job's sources are dumped. Lists hold patterns
// of pg_dump, First names with * and ?; what is zero has the default of the flag.
type Database struct {
	Tables, ExcludeTables, Schemas, ExcludeSchemas, ExcludeTableData []string
	First, IncludeForeignData                                        []string
	LockTimeout, LockWait                                            time.Duration
	Sessions                                                         int // that read data
	PgDump                                                           string
	All, Globals, PauseReplay                                        bool
}

// leastLock is the shortest wait for a lock.
const leastLock = time.Millisecond

// databaseKeys are those of a job that are about its databases. A flag of backup has
// the same name, with hyphens.
var databaseKeys = [...]key[Job]{
	{"table", func(v value, j *Job) { j.Database.Tables = v.texts() }},
	{"exclude_table", func(v value, j *Job) { j.Database.ExcludeTables = v.texts() }},
	{"schema", func(v value, j *Job) { j.Database.Schemas = v.texts() }},
	{"exclude_schema", func(v value, j *Job) { j.Database.ExcludeSchemas = v.texts() }},
	{"exclude_table_data", func(v value, j *Job) { j.Database.ExcludeTableData = v.texts() }},
	{"include_foreign_data", func(v value, j *Job) { j.Database.IncludeForeignData = v.texts() }},
	{"pause_replay", func(v value, j *Job) { j.Database.PauseReplay = v.truth() }},
	{"first", func(v value, j *Job) { j.Database.First = v.texts() }},
	{"lock_timeout", func(v value, j *Job) { j.Database.LockTimeout, _ = v.duration(leastLock) }},
	{"lock_wait", func(v value, j *Job) { j.Database.LockWait, _ = v.duration(leastLock) }},
	{"sessions", func(v value, j *Job) {
		if n, ok := v.whole(); ok && n < 1 {
			v.wrong("at least one session reads")
		} else if ok {
			j.Database.Sessions = n
		}
	}},
	{"pg_dump", func(v value, j *Job) { j.Database.PgDump, _ = v.path() }},
	{"all_databases", func(v value, j *Job) { j.Database.All = v.truth() }},
	{"globals", func(v value, j *Job) { j.Database.Globals = v.truth() }},
}

// jobKeys are the keys that a job shares with defaults.
func jobKeys() []key[Job] { return slices.Concat(sharedKeys[:], databaseKeys[:]) }

// keywords is how the keywords of a connection begin, of libpq: "service=app".
var keywords = regexp.MustCompile(`^(service|host|hostaddr|port|dbname|user) *=`)
