package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/progress"
)

// GlobalsOptions say which roles and tablespaces are restored, and where.
type GlobalsOptions struct {
	Content []byte // as pg_dumpall --globals-only writes it
	Name    string // of where it comes from, for messages
	URL     string // of any database of the server
	// NoTablespaces leaves tablespaces out.
	NoTablespaces bool
	// StallWarn and StallFail are those of Options.
	StallWarn, StallFail time.Duration
}

// GlobalsSummary is what became of roles and tablespaces.
type GlobalsSummary struct {
	Made  []string `json:"made"`  // "role clerk", "tablespace fast"
	There []string `json:"there"` // that were there already, and were left as they are
	// Differ are those of There that the dump has otherwise, and Problems what could not
	// be made; Notes are what is as good as in the dump, or cannot be changed.
	Differ   []Problem `json:"differ"`
	Problems []Problem `json:"problems"`
	Notes    []Problem `json:"notes"`
}

// globals restores them.
type globals struct {
	env     Env
	options GlobalsOptions
	stage   *progress.Stage
	conn    *pgx.Conn
	super   bool
	secret  bool // passwords can be read
	summary GlobalsSummary
}

// Globals restores roles, memberships and tablespaces, statement by statement. A role is
// made whole or not at all. What is there is left as it is: where the dump has it
// otherwise, and that matters, it is named, and the error is of class
// capstan.ErrIncomplete, as it is for what could not be made. The role that the server
// was made with, and the one of the connection, may differ. Passwords go to the server as
// they are in the dump, and, where the role is a superuser, past the server's log.
func Globals(ctx context.Context, env Env, options GlobalsOptions) (summary GlobalsSummary, err error) {
	g := &globals{env: env, options: options, stage: env.Tracker.Stage("roles")}
	g.summary = GlobalsSummary{Made: []string{}, There: []string{}, Differ: []Problem{}, Problems: []Problem{}, Notes: []Problem{}}
	g.stage.Begin()
	defer g.stage.End()
	limit := progress.Limit{Warn: options.StallWarn, Fail: options.StallFail}
	err = env.Tracker.Guard(ctx, progress.Limits{Still: limit, Waits: map[progress.Resource]progress.Limit{progress.ForServer: limit}},
		func(s *progress.Stall) { env.Warn("stalled: %v", s) },
		func(s *progress.Stall) error {
			return &capstan.Error{Op: "restore", Object: "roles and tablespaces", Err: s, Safe: "each role is there whole or not at all", Next: "look at the server, then call it again"}
		}, func(ctx context.Context) error {
			err := g.run(ctx)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		})
	return g.summary, err
}

func (g *globals) run(ctx context.Context) (err error) {
	s, err := parseScript(g.options.Content)
	if err != nil {
		return &capstan.Error{Class: capstan.ErrDamaged, Op: "read", Object: g.options.Name, Err: err, Safe: "nothing was changed"}
	}
	if err := g.connect(ctx); err != nil {
		return err
	}
	defer g.conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // what was sent was answered
	for _, setting := range s.settings {
		if err := g.exec(ctx, setting); err != nil {
			return &capstan.Error{Op: "restore", Object: g.options.Name, Err: err, Safe: "nothing was changed"}
		}
	}
	for _, step := range []func(context.Context, *script) error{g.roles, g.grants, g.tablespaces} {
		if err := step(ctx, s); err != nil {
			return err
		}
	}
	if n := len(g.summary.Problems) + len(g.summary.Differ); n > 0 {
		return &capstan.Error{
			Class: capstan.ErrIncomplete, Op: "restore", Object: "roles and tablespaces", Err: fmt.Errorf("%d could not be made, or are there and differ", n),
			Safe: "what was there is as it was, all others are there",
		}
	}
	return nil
}

// unlogged keeps passwords out of what a server writes about statements; a superuser may
// say so. What an extension does that is not loaded matters to nobody.
const unlogged = `SET log_statement = 'none'; SET log_min_error_statement = 'panic'; SET log_min_duration_statement = -1; SET log_min_duration_sample = -1;
	SET log_duration = off; SET log_transaction_sample_rate = 0; SET debug_print_parse = off; SET pg_stat_statements.track_utility = off; SET pgaudit.log = 'none'`

// connect makes the session.
func (g *globals) connect(ctx context.Context) (err error) {
	defer g.stage.Wait(progress.ForServer, "connecting")()
	if g.conn, err = connectAnywhere(ctx, g.options.URL); err != nil {
		return err
	}
	if err := g.unpooled(ctx); err != nil {
		return errors.Join(err, g.conn.Close(ctx))
	}
	g.super = g.conn.PgConn().ParameterStatus("is_superuser") == "on"
	for setting := range strings.SplitSeq(unlogged, ";") {
		_, err := g.conn.PgConn().Exec(ctx, setting).ReadAll()
		if _, refused := errors.AsType[*pgconn.PgError](err); err != nil && !refused {
			return err // else it may not be set, or is not there
		}
	}
	return g.conn.QueryRow(ctx, "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')").Scan(&g.secret)
}

// connectAnywhere connects to a database that every server has, or, where those were
// dropped, to that of the URL.
func connectAnywhere(ctx context.Context, url string) (conn *pgx.Conn, err error) {
	for _, database := range []string{"postgres", "template1", ""} {
		conn, err = pg.ConnectTo(ctx, url, database)
		if !pg.IsNoDatabase(err) {
			break
		}
	}
	return conn, err
}

// Databases are the names of all databases of the server that a URL names.
func Databases(ctx context.Context, url string) ([]string, error) {
	conn, err := connectAnywhere(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	rows, err := conn.Query(ctx, "SELECT datname::text FROM pg_catalog.pg_database")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// unpooled refuses a pooler in transaction mode: passwords would be logged.
func (g *globals) unpooled(ctx context.Context) error {
	second, err := pg.ConnectTo(ctx, g.options.URL, g.conn.Config().Database)
	if err != nil {
		return err
	}
	defer second.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	return pg.Unpooled(ctx, g.conn.PgConn(), second.PgConn())
}

// exec carries a statement out. Its error does not repeat the statement.
func (g *globals) exec(ctx context.Context, statement string) error {
	defer g.stage.Wait(progress.ForServer, "")()
	_, err := g.conn.PgConn().Exec(ctx, statement).ReadAll()
	g.stage.Moved(0, 1)
	return err
}

// refusal keeps what the server said to a statement as a problem of an object. Every
// other error is given back: the connection is of no use any more.
func (g *globals) refusal(object string, err error) error {
	if err == nil {
		return nil
	}
	refused, is := errors.AsType[*pgconn.PgError](err)
	if !is || g.conn.IsClosed() {
		return &capstan.Error{Op: "restore", Object: object, Err: err, Safe: "each role is there whole or not at all", Next: "call it again"}
	}
	text := refused.Message
	if refused.Detail != "" {
		text += "; " + refused.Detail
	}
	if refused.Hint != "" {
		text += "; " + refused.Hint
	}
	g.summary.Problems = append(g.summary.Problems, Problem{Object: object, Err: text})
	return nil
}

// grants gives memberships, and rights on parameters. Where the grantor of the dump may
// not, or is not there, it is the connection's role that grants.
func (g *globals) grants(ctx context.Context, s *script) error {
	for _, grant := range s.grants {
		object := output.Clean(grant.name)
		g.stage.Object(object)
		err := g.exec(ctx, grant.create)
		if err != nil {
			if rest, had := cutGrantor(grant.create); had && !g.conn.IsClosed() {
				if again := g.exec(ctx, rest); again == nil {
					g.summary.Notes = append(g.summary.Notes, Problem{Object: object, Err: "granted by the role that restores: its own grantor cannot"})
					continue
				}
			}
		}
		if err := g.refusal(object, err); err != nil {
			return err
		}
	}
	return nil
}

// tablespaces makes those that are not there.
func (g *globals) tablespaces(ctx context.Context, s *script) error {
	if g.options.NoTablespaces {
		return nil
	}
	for _, space := range s.tablespaces {
		object := "tablespace " + output.Clean(space.name)
		g.stage.Object(object)
		at, err := g.names(ctx, "SELECT pg_catalog.pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace WHERE spcname = "+literal(space.name))
		if err != nil {
			return err
		}
		if len(at) > 0 {
			g.summary.There = append(g.summary.There, object)
			if w := words(space.create); len(w) > 0 && w[len(w)-1] != literal(at[0]) {
				g.summary.Notes = append(g.summary.Notes, Problem{Object: object, Err: "it is there, at " + output.Clean(at[0])})
			}
			continue
		}
		if err := g.makeTablespace(ctx, space, object); err != nil {
			return err
		}
	}
	return nil
}

func (g *globals) makeTablespace(ctx context.Context, space *global, object string) error {
	for i, statement := range append([]string{space.create}, space.rest...) {
		if err := g.exec(ctx, statement); err != nil {
			if lost := g.refusal(object, err); lost != nil || i == 0 {
				return lost
			}
		}
	}
	g.summary.Made = append(g.summary.Made, object)
	return nil
}

// literal is a text in quotes, as a server reads it with standard_conforming_strings.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
