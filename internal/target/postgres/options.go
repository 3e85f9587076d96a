package postgres

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pg"
	"capstan/internal/pgtoc"
	"capstan/internal/progress"
)

// Env is what a restore works with.
type Env struct {
	Disk    disk.FS
	Tracker *progress.Tracker
	// Say and Warn tell people; they do not block.
	Say, Warn func(format string, args ...any)
}

// Options say what is restored, and into what.
type Options struct {
	Dir string // of the dump
	URL string // of the database, or keywords, as libpq reads them
	// Create makes the database that URL names, with the encoding and locale of the
	// dumped one, and gives it that one's settings. It must not be there.
	Create bool
	// Properties gives a database that is not made the settings, comment and rights of the
	// dumped one too.
	Properties bool
	// Clean drops what is restored before it is made anew.
	Clean bool
	// Tables ("schema.table" or "table") and Schemas restrict what is restored: tables
	// with their rows, indexes, constraints, triggers and sequences. Types and functions
	// of other schemas that they use have to be there. Empty: everything.
	Tables, Schemas []string
	// Without says which entries of the table of contents are left out, also of what was
	// chosen above; nil: none.
	Without func(*pgtoc.Entry) bool
	// NoTablespaces puts everything into the database's default tablespace.
	NoTablespaces bool
	// NoOwner and NoPrivileges leave out who owns what, and who may do what.
	NoOwner, NoPrivileges bool
	Jobs                  int // of pg_restore; 0: as many as this machine has cores, at most 4
	// PgRestore is the program to use; empty: one that fits is looked for.
	PgRestore string
	// StallWarn is how long the restore may stand still until people are told, and
	// StallFail how long somebody's lock, or a server that does not answer, may be in its
	// way until it is ended; 0 means for ever.
	StallWarn, StallFail time.Duration
}

func (o Options) complete() (Options, error) {
	wrong := func(format string, args ...any) (Options, error) {
		return o, &capstan.Error{Class: capstan.ErrUsage, Op: "restore", Err: fmt.Errorf(format, args...)}
	}
	if o.URL == "" {
		return wrong("no database is named")
	}
	var err error
	if o.Jobs, err = pg.Jobs(o.Jobs); err != nil {
		return wrong("%w", err)
	}
	if o.Create && o.Clean {
		return wrong("a database that is made anew holds nothing to clean: give --create or --clean")
	}
	if o.StallWarn < 0 || o.StallFail < 0 {
		return wrong("a time to stand still is not negative")
	}
	if slices.Contains(o.Tables, "") || slices.Contains(o.Schemas, "") {
		return wrong("an empty name names nothing")
	}
	return o, nil
}

// Problem is an object that was not restored as it should be.
type Problem struct {
	Object string `json:"object"` // "TABLE DATA public orders"
	Err    string `json:"error"`
}

// Summary is what became of a restore.
type Summary struct {
	Dump      string    `json:"dump"`
	Database  string    `json:"database"`
	Server    string    `json:"server_version"`
	PgRestore string    `json:"pg_restore_version"`
	Objects   int64     `json:"objects"` // entries of the table of contents that were asked for
	Tables    int64     `json:"tables"`  // whose rows were restored
	Bytes     int64     `json:"bytes"`   // of their files
	Problems  []Problem `json:"problems"`
	// Unnamed counts problems beyond those that are kept.
	Unnamed int64   `json:"unnamed_problems,omitempty"`
	Seconds float64 `json:"seconds"`
}

// maxProblems bounds the problems that are kept one by one.
const maxProblems = 1000

// verdict is what the problems make of a restore that came to its end.
func (s *Summary) verdict() error {
	n := int64(len(s.Problems)) + s.Unnamed
	if n == 0 {
		return nil
	}
	return &capstan.Error{
		Class: capstan.ErrIncomplete, Op: "restore", Object: s.Database, Err: fmt.Errorf("%d objects could not be restored as they were", n),
		Safe: "all others are there",
	}
}

var errThere = errors.New("it is already there")
