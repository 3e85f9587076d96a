package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
	"capstan/internal/codec"
	"capstan/internal/pg"
	"capstan/internal/pgproxy"
	"capstan/internal/process"
)

// errScouted ends a pg_dump that has said which tables it wants.
var errScouted = errors.New("the tables are known now")

// scout runs pg_dump as far as its list of tables, in a session that locks nothing.
// With --exclude-table-data it runs to its end, since only that tells which tables
// are without data. What a session without locks runs into is no failure, if the
// list is there.
func (d *dump) scout(ctx context.Context, conn *pgconn.PgConn, dir string) (pgproxy.Transcript, error) {
	var admit func([]string) error
	if len(d.options.ExcludeTableData) == 0 {
		admit = func([]string) error { return errScouted }
	}
	seen, err := d.runPgDump(ctx, pgproxy.Session{Conn: conn, Admit: admit}, dir)
	if errors.Is(err, errScouted) {
		err = nil
	}
	d.settings, d.dataless = seen.Settings, map[string]bool{}
	if err == nil && admit == nil {
		for _, name := range seen.Locks {
			d.dataless[name] = true
		}
		for _, c := range seen.Copies {
			delete(d.dataless, c.Table)
		}
	}
	return seen, err
}

// runPgDump runs the real pg_dump through the proxy, into dir, which must be empty.
// The error of the server or of Admit comes before what pg_dump made of it.
func (d *dump) runPgDump(ctx context.Context, session pgproxy.Session, dir string) (pgproxy.Transcript, error) {
	proxy, err := pgproxy.Listen(ctx)
	if err != nil {
		return pgproxy.Transcript{}, &capstan.Error{Op: "make a socket for", Object: "pg_dump", Err: err}
	}
	defer func() { _ = proxy.Close() }() // a socket in a temporary directory
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type outcome struct {
		seen pgproxy.Transcript
		err  error
	}
	served := make(chan outcome, 1)
	go func() {
		seen, err := proxy.Serve(ctx, session)
		served <- outcome{seen, err}
	}()
	args := append([]string{"--format=directory", "--compress=0", "--no-sync", "--no-password", "--file=" + dir}, d.options.arguments()...)
	_, failed := process.Run(ctx, process.Command{Path: d.client.Path, Args: args, Env: d.environment(proxy)})
	if failed != nil {
		// Should it never have connected, nobody else ends the waiting for it.
		_ = proxy.Close()
	}
	o := <-served
	if ctx.Err() != nil {
		return o.seen, context.Cause(ctx)
	}
	refused := &pgconn.PgError{}
	if errors.Is(o.err, errScouted) || errors.Is(o.err, errLearnt) || errors.As(o.err, new(*missingError)) || errors.As(o.err, &refused) {
		return o.seen, o.err
	}
	if failed != nil {
		return o.seen, &capstan.Error{Op: "run", Object: d.client.Path, Err: failed}
	}
	return o.seen, o.err
}

// environment is pg_dump's: ours, without what libpq would read from it.
func (d *dump) environment(proxy *pgproxy.Proxy) []string {
	env := slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "PG") })
	env = append(env, proxy.Environment()...)
	return append(env, "PGUSER="+d.user, "PGDATABASE="+d.database, "PGPASSFILE="+os.DevNull, "PGSERVICEFILE="+os.DevNull)
}

// missingError reports tables that pg_dump wants and that are not locked.
type missingError struct{ names []string }

func (e *missingError) Error() string {
	return fmt.Sprintf("tables that were not there a moment ago: %s", strings.Join(e.names, ", "))
}

// zstdMajor is the version since which pg_restore reads zstd.
const zstdMajor = 16

// compression chooses what the pg_restore of the dump's version reads.
func (d *dump) compression() error {
	switch readsZstd := d.client.Version.Major >= zstdMajor; {
	case d.options.Codec == "" && readsZstd:
		d.options.Codec = capstan.CodecZstd
	case d.options.Codec == "":
		d.options.Codec = capstan.CodecGzip
	case d.options.Codec == capstan.CodecZstd && !readsZstd:
		d.env.Warn("pg_restore %d reads no zstd: this dump wants that of 16 or later", d.client.Version.Major)
	}
	_, err := codec.CheckLevel(d.options.Codec, d.options.Level)
	if err != nil {
		return &capstan.Error{Class: capstan.ErrUsage, Op: "dump", Err: err}
	}
	return nil
}

// fits checks that pg_dump can be used with the server.
func (d *dump) fits(ctx context.Context) error {
	var err error
	if d.options.PgDump == "" {
		d.client, err = pg.FindClient(ctx, "pg_dump", d.server)
		return err
	}
	if d.client, err = pg.ClientAt(ctx, d.options.PgDump); err != nil {
		return err
	}
	if d.client.Version.OlderThan(d.server) {
		return &capstan.Error{
			Op: "use", Object: d.client.Path, Err: fmt.Errorf("it is version %s, older than the server, %s", d.client.Version, d.server),
			Next: "name one that is as new as the server with --pg-dump",
		}
	}
	return nil
}
