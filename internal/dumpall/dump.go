package dumpall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"capstan"
	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/pgdump"
	"capstan/internal/source/dumps"
	"capstan/internal/source/postgres"
)

// Options say what is dumped, and how.
type Options struct {
	Dump postgres.Options // of each database; URL names the server, by any database of it
	// Globals adds roles and tablespaces.
	Globals bool
	// Exclude are databases that are left out, by name, with * and ?.
	Exclude []string
}

// The states of a dump, and of a whole directory.
const (
	Complete = "complete"
	Partial  = "partial" // of the directory: something that is named is not in it
	Failed   = "failed"
	Gone     = "gone" // dropped after the databases were listed
)

// Database is one in the Receipt.
type Database struct {
	Name      string        `json:"database"`
	Directory string        `json:"directory,omitempty"` // below the receipt's; empty if there is no dump
	Status    string        `json:"status"`
	Error     string        `json:"error,omitempty"`
	Snapshot  *time.Time    `json:"snapshot,omitempty"`
	Tables    int           `json:"tables"`
	Rows      int64         `json:"rows"`
	BytesIn   capstan.Bytes `json:"bytes_in"`
	BytesOut  capstan.Bytes `json:"bytes_out"`
	Seconds   float64       `json:"seconds"`
}

// Receipt tells what is in a directory, and what is not. It is kept in dumps.ServerReceipt.
type Receipt struct {
	Status  string    `json:"status"`
	Started time.Time `json:"started"`
	// Globals is the state of roles and tablespaces; empty: they were not asked for.
	Globals      string     `json:"globals,omitempty"`
	GlobalsError string     `json:"globals_error,omitempty"`
	Databases    []Database `json:"databases"`
	// Closed are the databases that nobody can connect to, and Excluded those left out.
	Closed   []string `json:"not_connectable,omitempty"`
	Excluded []string `json:"excluded,omitempty"`
}

// Summary is what a dump came to.
type Summary struct {
	Type string `json:"type"` // "summary"
	Dir  string `json:"dir"`
	Receipt
	Seconds float64 `json:"seconds"`
}

// Dump dumps all databases of a server to dir, which appears when all were tried and at
// least one is there. The summary is worth reading beside an error of class
// capstan.ErrIncomplete too.
func Dump(ctx context.Context, env postgres.Env, options Options, dir string) (summary Summary, err error) {
	for _, pattern := range options.Exclude {
		if _, err := path.Match(pattern, ""); err != nil {
			return Summary{}, &capstan.Error{Class: capstan.ErrUsage, Op: "dump", Err: fmt.Errorf("--exclude-database %s: %w", pattern, err)}
		}
	}
	place, err := postgres.OpenDirectory(env.Disk, dir)
	if err != nil {
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, place.Close()) }()
	body, err := place.Fresh()
	if err != nil {
		return Summary{}, err
	}
	if err := env.Disk.Mkdir(body); err != nil {
		return Summary{}, err
	}
	d := &all{env: env, options: options, body: body}
	d.summary = Summary{Type: "summary", Dir: dir, Receipt: Receipt{Started: time.Now().UTC(), Databases: []Database{}}}
	if err := d.run(ctx); err != nil {
		return d.summary, err
	}
	if err := place.Publish(); err != nil {
		return d.summary, err
	}
	d.summary.Seconds = time.Since(d.summary.Started).Seconds()
	return d.summary, d.verdict()
}

// all is a dump of all databases on its way.
type all struct {
	env     postgres.Env
	options Options
	body    string
	summary Summary
	failed  []string // what is missing, with the reason
}

func (d *all) run(ctx context.Context) error {
	names, closed, err := dumps.Databases(ctx, d.options.Dump.URL)
	if err != nil {
		return err
	}
	if d.summary.Closed = closed; len(closed) > 0 {
		d.env.Say("not dumped, since nobody can connect to them: %s", output.Clean(strings.Join(closed, ", ")))
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		out := slices.ContainsFunc(d.options.Exclude, func(pattern string) bool { return postgres.Match(pattern, name) })
		if out {
			d.summary.Excluded = append(d.summary.Excluded, name)
		}
		return out
	})
	if len(names) == 0 {
		return &capstan.Error{Class: capstan.ErrNotFound, Op: "dump", Object: "the server", Err: errors.New("it has no database that can be dumped, or all are excluded")}
	}
	if err := d.globals(ctx); err != nil {
		return err
	}
	var first error
	done := 0
	within := dumps.Directories(names)
	for i, name := range names {
		err := d.database(ctx, name, within[i], fmt.Sprintf("%d of %d", i+1, len(names)))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			done++
		} else if first == nil {
			first = err
		}
	}
	if done == 0 && first != nil {
		return first // nothing is kept for the sake of the roles
	}
	return d.seal()
}

// globals writes roles and tablespaces; an error that is given back ends the dump.
func (d *all) globals(ctx context.Context) error {
	if !d.options.Globals {
		return nil
	}
	stage := d.env.Tracker.Stage("roles")
	stage.Begin()
	defer stage.End()
	text, err := dumps.Globals(ctx, d.options.Dump, filepath.Dir(d.body), d.env.Warn)
	if err == nil {
		err = d.env.Disk.WriteNew(filepath.Join(d.body, pgdump.Globals), text)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d.summary.Globals = Complete
	if err != nil {
		d.summary.Globals, d.summary.GlobalsError = Failed, err.Error()
		d.failed = append(d.failed, "roles and tablespaces: "+err.Error())
		d.env.Warn("roles and tablespaces are not in the dump: %v", err)
	}
	return nil
}

// database dumps one. What becomes of it is in the summary.
func (d *all) database(ctx context.Context, name, dir, count string) error {
	d.env.Say("database %s (%s)", output.Clean(name), count)
	options := d.options.Dump
	options.Database = name
	begun := time.Now()
	s, err := postgres.Dump(ctx, d.env, options, filepath.Join(d.body, dir))
	entry := Database{Name: name, Directory: dir, Status: Complete, Tables: s.Tables, Rows: s.Rows, BytesIn: s.BytesIn, BytesOut: s.BytesOut, Seconds: time.Since(begun).Seconds()}
	switch {
	case ctx.Err() != nil:
		return err
	case err == nil:
		entry.Snapshot = &s.Receipt.Snapshot
	case pg.IsNoDatabase(err):
		entry.Directory, entry.Status, entry.Error = "", Gone, "it was dropped meanwhile"
		d.env.Say("database %s was dropped meanwhile", output.Clean(name))
	default:
		entry.Directory, entry.Status, entry.Error = "", Failed, err.Error()
		d.failed = append(d.failed, fmt.Sprintf("database %s: %v", output.Clean(name), err))
		d.env.Warn("database %s is not in the dump: %v", output.Clean(name), err)
	}
	d.summary.Databases = append(d.summary.Databases, entry)
	return err
}

// seal writes the receipt.
func (d *all) seal() error {
	d.summary.Status = Complete
	if len(d.failed) > 0 {
		d.summary.Status = Partial
	}
	text, err := json.MarshalIndent(d.summary.Receipt, "", "  ")
	if err != nil {
		return err
	}
	return d.env.Disk.WriteNew(filepath.Join(d.body, dumps.ServerReceipt), append(text, '\n'))
}

// verdict names what is missing.
func (d *all) verdict() error {
	if len(d.failed) == 0 {
		return nil
	}
	return &capstan.Error{
		Class: capstan.ErrIncomplete, Op: "dump all databases into", Object: d.summary.Dir, Err: errors.New(strings.Join(d.failed, "; ")),
		Safe: "all others are there", Next: "mend what is named, then dump those alone, or all into another directory",
	}
}
