package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgdump"
	"capstan/internal/pgtoc"
	"capstan/internal/process"
	"capstan/internal/progress"
)

var errNotInDump = errors.New("it is not in the dump")

// restore is one under way.
type restore struct {
	env         Env
	options     Options
	dump        *pgdump.Dump
	chosen      []int32        // in the order of the dump; nil: all
	wanted      map[int32]bool // the same
	client      pg.Client
	stage       *progress.Stage
	pulse       *pulse         // while pg_restore runs
	version     pg.Version     // of the server
	application string         // that the server knows pg_restore's sessions by
	later       []*pgtoc.Entry // about the database, to be done last
	from        string         // the dumped database's name
	to          string
	summary     Summary
}

// Restore restores a dump. The summary is worth reading beside an error too. Objects
// that could not be restored are an error of class capstan.ErrIncomplete, and named in
// the summary; a database or tables that are in the way are one of class
// capstan.ErrRefused, and nothing was changed.
func Restore(ctx context.Context, env Env, options Options) (Summary, error) {
	begun := time.Now()
	options, err := options.complete()
	if err != nil {
		return Summary{}, err
	}
	r := &restore{env: env, options: options, stage: env.Tracker.Stage("restore")}
	r.summary = Summary{Dump: options.Dir, Problems: []Problem{}}
	r.pulse = &pulse{stage: r.stage}
	r.stage.Begin()
	defer r.stage.End()
	err = r.unstalled(ctx)
	r.summary.Seconds = time.Since(begun).Seconds()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return r.summary, err
}

func (r *restore) run(ctx context.Context) (err error) {
	if r.dump, err = pgdump.Open(os.DirFS(r.options.Dir)); err != nil {
		return err
	}
	if r.chosen, err = r.options.chosen(r.dump.Archive); err != nil {
		return err
	}
	r.wanted = map[int32]bool{}
	for _, id := range r.chosen {
		r.wanted[id] = true
	}
	if r.version, err = r.prepare(ctx); err != nil {
		return err
	}
	if err := r.findClient(ctx, r.version); err != nil {
		return err
	}
	if r.options.Create {
		if err := r.create(ctx, r.version); err != nil {
			return err
		}
	}
	if r.options.Properties && !r.options.Create {
		_, r.later = databaseEntries(r.dump.Archive)
		r.from = r.dump.Database.Value
	}
	conn, err := pg.ConnectTo(ctx, r.options.URL, r.to)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is left to be written
	if err := r.empty(ctx, conn); err != nil {
		return err
	}
	if err := r.runProgram(ctx); err != nil {
		return err
	}
	r.finish(ctx, conn)
	return r.summary.verdict()
}

// prepare looks at the server: its version, and whether the database is there.
func (r *restore) prepare(ctx context.Context) (pg.Version, error) {
	defer r.stage.Wait(progress.ForServer, "connecting")()
	connect := pg.Connect
	if r.options.Create {
		connect = connectAnywhere
	}
	conn, err := connect(ctx, r.options.URL)
	if err != nil {
		if pg.IsNoDatabase(err) && !r.options.Create {
			err = &capstan.Error{Class: capstan.ErrNotFound, Op: "restore", Object: "the database", Err: err, Next: "make it with --create"}
		}
		return pg.Version{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	if err := r.unpooled(ctx, conn, conn.Config().Database); err != nil {
		return pg.Version{}, err
	}
	config, err := pgx.ParseConfig(r.options.URL)
	if err != nil {
		return pg.Version{}, err
	}
	if r.to = config.Database; r.to == "" {
		r.to = config.User // as libpq has it
	}
	r.summary.Database = r.to
	if err := conn.QueryRow(ctx, "SHOW server_version").Scan(&r.summary.Server); err != nil {
		return pg.Version{}, err
	}
	version, err := pg.ParseVersion(r.summary.Server)
	if err != nil || !r.options.Create {
		return version, err
	}
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", r.to).Scan(&there); err != nil {
		return version, err
	}
	if there {
		return version, &capstan.Error{
			Class: capstan.ErrRefused, Op: "create", Object: "database " + r.to, Err: errThere, Safe: "it was not touched",
			Next: "name another in the URL, or restore into it with --clean instead of --create",
		}
	}
	return version, nil
}

// findClient chooses the pg_restore.
func (r *restore) findClient(ctx context.Context, server pg.Version) (err error) {
	if r.options.PgRestore != "" {
		r.client, err = pg.ClientAt(ctx, r.options.PgRestore)
	} else {
		// Of the server's major any minor release does: it only sends statements.
		r.client, err = pg.FindClient(ctx, "pg_restore", pg.Version{Major: max(server.Major, r.readers())})
	}
	if err == nil {
		r.summary.PgRestore = r.client.Version.String()
	}
	return err
}

// readers is the oldest major version of pg_restore that reads the dump.
func (r *restore) readers() int {
	major := map[byte]int{14: 12, 15: 16, 16: 17}[r.dump.Version.Minor]
	for _, table := range r.dump.Tables() {
		if table.Codec == capstan.CodecZstd {
			major = max(major, 16)
		}
	}
	return major
}

// providerMajor is the version since which a database has a locale provider.
const providerMajor = 15

// create makes the database as the dumped one was made.
func (r *restore) create(ctx context.Context, server pg.Version) error {
	defer r.stage.Wait(progress.ForServer, "create database")()
	statement, later := databaseEntries(r.dump.Archive)
	r.later, r.from = later, r.dump.Database.Value
	if statement == "" { // of a dump of chosen tables
		statement = "CREATE DATABASE " + quoted(r.from) + " WITH TEMPLATE = template0"
		r.env.Warn("the dump does not say how its database was made: encoding and locale are the server's")
	}
	if r.options.NoTablespaces {
		statement, _, _ = strings.Cut(statement, " TABLESPACE = ") // which is its end
	}
	if server.Major < providerMajor {
		statement = strings.Replace(statement, " LOCALE_PROVIDER = libc", "", 1) // what it is there anyway
	}
	conn, err := connectAnywhere(ctx, r.options.URL)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // what was sent was answered
	if _, err := conn.Exec(ctx, renamed(strings.TrimRight(statement, " ;\n"), r.from, r.to)); err != nil {
		return &capstan.Error{Op: "create", Object: "database " + r.to, Err: err, Next: "make it by hand, and restore without --create"}
	}
	r.env.Say("database %s was made", r.to)
	return nil
}

// empty refuses to restore tables that are there: their rows would be there twice.
func (r *restore) empty(ctx context.Context, conn *pgx.Conn) error {
	defer r.stage.Wait(progress.ForServer, "which tables are there")()
	if r.options.Clean || r.options.Create {
		return nil
	}
	var names []string
	for i := range r.dump.Entries {
		if e := &r.dump.Entries[i]; e.Desc.Value == "TABLE" && r.wants(e) {
			names = append(names, pgx.Identifier{e.Namespace.Value, e.Tag.Value}.Sanitize())
		}
	}
	var there string
	err := conn.QueryRow(ctx, "SELECT coalesce(min(name), '') FROM unnest($1::text[]) name WHERE to_regclass(name) IS NOT NULL", names).Scan(&there)
	if err != nil || there == "" {
		return err
	}
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "restore", Object: "table " + there, Err: errThere, Safe: "nothing was changed",
		Next: "drop what is there with --clean, or restore into another database with --create",
	}
}

// wants reports whether an entry was asked for.
func (r *restore) wants(e *pgtoc.Entry) bool { return r.chosen == nil || r.wanted[e.DumpID] }

// runProgram runs pg_restore and hears what it says.
func (r *restore) runProgram(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "capstan-pg-restore-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	args, env, err := r.command(dir)
	if err != nil {
		return err
	}
	heard := r.listen()
	watched, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.watch(watched)
	}()
	r.pulse.wait(progress.ForServer, "pg_restore")
	result, failed := process.Run(ctx, process.Command{Path: r.client.Path, Args: args, Env: env, Stderr: heard})
	stop()
	<-done
	r.pulse.end()
	heard.conclude(failed == nil)
	switch {
	case failed == nil:
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case result.ExitCode == 1 && heard.errors > 0:
		// Its errors are known by name.
	default:
		return &capstan.Error{Op: "run", Object: r.client.Path, Err: fmt.Errorf("%w: %s", failed, strings.Join(heard.last, "; "))}
	}
	return nil
}

// command is how pg_restore is called. Its messages must be those that are understood.
func (r *restore) command(dir string) (args, env []string, err error) {
	access, err := pg.HandOver(r.options.URL, dir)
	if err != nil {
		return nil, nil, err
	}
	args = []string{"--format=directory", "--verbose", "--no-password", "--jobs=" + strconv.Itoa(r.options.Jobs), "--dbname=" + access.Conninfo}
	if r.chosen != nil {
		path := filepath.Join(dir, "list")
		if err := os.WriteFile(path, []byte(list(r.chosen)), 0o600); err != nil {
			return nil, nil, err
		}
		args = append(args, "--use-list="+path)
	}
	for flag, wanted := range map[string]bool{"--clean": r.options.Clean, "--if-exists": r.options.Clean, "--no-tablespaces": r.options.NoTablespaces, "--no-owner": r.options.NoOwner, "--no-privileges": r.options.NoPrivileges} {
		if wanted {
			args = append(args, flag)
		}
	}
	env = append(access.Env, "LC_ALL=C", "LANGUAGE=")
	config, err := pgx.ParseConfig(r.options.URL)
	if err != nil {
		return nil, nil, err
	}
	if r.application = config.RuntimeParams["application_name"]; r.application == "" {
		r.application = "capstan pg_restore " + strconv.Itoa(os.Getpid())
		env = append(env, "PGAPPNAME="+r.application)
	}
	return append(args, r.options.Dir), env, nil
}

// listen plans what is restored, for the progress and the messages.
func (r *restore) listen() *listener {
	l := &listener{
		pulse: r.pulse, tracker: r.env.Tracker, toc: map[int32]*pgtoc.Entry{}, sizes: map[int32]int64{}, byTable: map[string]int32{}, summary: &r.summary,
	}
	files := map[string]int64{}
	for _, table := range r.dump.Tables() {
		files[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(table.File, ".zst"), ".gz"), ".lz4")] = table.Size
	}
	var total int64
	for i := range r.dump.Entries {
		e := &r.dump.Entries[i]
		l.toc[e.DumpID] = e
		if !r.wants(e) {
			continue
		}
		r.summary.Objects++
		if size, ok := files[e.File.Value]; ok && e.Data {
			l.sizes[e.DumpID] = size
			l.byTable[e.Namespace.Value+"."+e.Tag.Value] = e.DumpID
			total += size
		}
	}
	r.env.Tracker.Total(int64(len(l.sizes)), capstan.Bytes(total))
	return l
}

// finish does what is about the database itself.
func (r *restore) finish(ctx context.Context, conn *pgx.Conn) {
	defer r.stage.Wait(progress.ForServer, "settings of the database")()
	for _, e := range r.later {
		if e.Desc.Value == "ACL" && r.options.NoPrivileges {
			continue
		}
		if _, err := conn.Exec(ctx, renamed(e.Definition.Value, r.from, r.to)); err != nil {
			r.summary.Problems = append(r.summary.Problems, Problem{Object: e.Desc.Value + " " + e.Tag.Value, Err: err.Error()})
		}
	}
}
