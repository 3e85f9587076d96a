package postgres

import (
	"fmt"
	"path"
	"strings"
	"time"

	"capstan"
	"capstan/internal/codec"
	"capstan/internal/disk"
	"capstan/internal/pg"
	"capstan/internal/progress"
)

// Env is what a dump works with.
type Env struct {
	Disk    disk.FS
	Tracker *progress.Tracker
	// Say and Warn tell people; they do not block.
	Say, Warn func(format string, args ...any)
}

// Options say what is dumped and how. Patterns are those of pg_dump.
type Options struct {
	URL string // or keywords, as libpq reads them
	// Database is dumped in the place of that of URL; empty: that one.
	Database string
	// PgDump is the program to use; empty: one that fits the server is looked for.
	PgDump string
	Jobs   int // sessions that read data; 0: by the cores here and the load there (pg.FitJobs)
	// MostJobs bounds them, whatever Jobs says, for the sake of memory; 0: it does not.
	MostJobs int

	// LockTimeout is how long one attempt waits for a table, before all locks are let
	// go for a while; 0 means half a second. It should be below the server's
	// deadlock_timeout, so that it is us who give way.
	LockTimeout time.Duration
	// LockWait is how long all attempts may take together; 0 means ten minutes.
	LockWait time.Duration

	Tables, ExcludeTables, Schemas, ExcludeSchemas, ExcludeTableData []string
	// IncludeForeignData names foreign servers whose tables are dumped with their data.
	IncludeForeignData []string
	// First names tables whose data is read, and whose locks are released, before all
	// others: "schema.table" or "table", with * and ?.
	First []string

	// PauseReplay pauses what a standby replays, from when all tables are locked until
	// all data is read.
	PauseReplay bool

	// Codec compresses the data; empty: zstd, or gzip where pg_restore of the dump's
	// version reads nothing else (15 and before).
	Codec capstan.Codec
	Level int // 0: the codec's default

	// Beside are files that Dump puts beside those of pg_dump, by name: globals.sql.
	Beside map[string][]byte

	// StallWarn and StallFail are how long reading may stand still until people are
	// told, and until the dump is ended; 0 means for ever. Waiting for locks in the
	// beginning is bounded by LockWait.
	StallWarn, StallFail time.Duration
}

// The defaults of Options.
const (
	DefaultLockTimeout = 500 * time.Millisecond
	DefaultLockWait    = 10 * time.Minute
)

// sessionMemory is what one session that reads takes at most: the buffer of its connection
// (0.5 MiB), a frame before and after compression, the encoder, and what it keeps of a part
// that is not in its turn (partMemory).
const sessionMemory = 8 * capstan.MiB

// JobsWithin is how many sessions can read with so much memory, at least one.
func JobsWithin(memory capstan.Bytes) int { return max(int(memory/sessionMemory), 1) }

// complete checks the options and fills the defaults in.
func (o Options) complete() (Options, error) {
	wrong := func(format string, args ...any) (Options, error) {
		return o, &capstan.Error{Class: capstan.ErrUsage, Op: "dump", Err: fmt.Errorf(format, args...)}
	}
	if o.URL == "" {
		return wrong("no database is named")
	}
	if _, err := pg.Jobs(o.Jobs); err != nil {
		return wrong("%w", err)
	}
	if o.StallWarn < 0 || o.StallFail < 0 {
		return wrong("a time to stand still is not negative")
	}
	if o.LockTimeout < 0 || o.LockWait < 0 || o.LockTimeout > 0 && o.LockTimeout < time.Millisecond {
		return wrong("a time to wait for locks is at least a millisecond")
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	if o.LockWait == 0 {
		o.LockWait = DefaultLockWait
	}
	if o.Codec != "" {
		if _, err := codec.CheckLevel(o.Codec, o.Level); err != nil {
			return wrong("%w", err)
		}
	}
	for _, pattern := range o.First {
		if _, err := path.Match(pattern, ""); err != nil {
			return wrong("--first %s: %w", pattern, err)
		}
	}
	for _, patterns := range [][]string{o.Tables, o.ExcludeTables, o.Schemas, o.ExcludeSchemas, o.ExcludeTableData, o.IncludeForeignData} {
		for _, pattern := range patterns {
			if pattern == "" || strings.ContainsRune(pattern, 0) {
				return wrong("an empty pattern names nothing")
			}
		}
	}
	return o, nil
}

// arguments are pg_dump's words for what is dumped.
func (o Options) arguments() []string {
	var args []string
	for _, group := range []struct {
		flag     string
		patterns []string
	}{
		{"--table=", o.Tables},
		{"--exclude-table=", o.ExcludeTables},
		{"--schema=", o.Schemas},
		{"--exclude-schema=", o.ExcludeSchemas},
		{"--exclude-table-data=", o.ExcludeTableData},
		{"--include-foreign-data=", o.IncludeForeignData},
	} {
		for _, pattern := range group.patterns {
			args = append(args, group.flag+pattern)
		}
	}
	return args
}

// suffix is how pg_restore knows the compression of a file.
func (o Options) suffix() string {
	switch o.Codec {
	case capstan.CodecZstd:
		return ".zst"
	case capstan.CodecGzip:
		return ".gz"
	case capstan.CodecNone:
	}
	return ""
}

// isFirst reports whether --first names a table.
func (o Options) isFirst(t *table) bool { return matches(o.First, t.schema, t.name) }

// Match reports whether a name is one that a pattern means: with * and ?, for any
// character. Patterns that path.Match refuses match nothing.
func Match(pattern, name string) bool {
	const other = "\x00" // in no name: a slash is nothing special in one
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", other), strings.ReplaceAll(name, "/", other))
	return err == nil && ok
}

// matches reports whether one of the patterns names the table.
func matches(patterns []string, schema, name string) bool {
	for _, pattern := range patterns {
		for _, candidate := range [...]string{name, schema + "." + name} {
			if Match(pattern, candidate) {
				return true
			}
		}
	}
	return false
}
