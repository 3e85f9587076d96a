package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"capstan/internal/output"
	"capstan/internal/progress"
)

// fixed are the roles that a restore never changes, nor complains of.
const fixed = "SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10 OR rolname IN (session_user, current_user)"

func (g *globals) roles(ctx context.Context, s *script) error {
	there, err := g.names(ctx, "SELECT rolname FROM pg_catalog.pg_roles")
	if err != nil {
		return err
	}
	own, err := g.names(ctx, fixed)
	if err != nil {
		return err
	}
	bare := []string{}
	for _, role := range s.roles {
		object := "role " + output.Clean(role.name)
		g.stage.Object(object)
		switch {
		case slices.Contains(there, role.name):
			g.summary.There = append(g.summary.There, object)
			err = g.compareRole(ctx, role, object, slices.Contains(own, role.name))
		default:
			err = g.makeRole(ctx, role, object)
			if slices.ContainsFunc(role.rest, func(s string) bool {
				w := words(s)
				return slices.Contains(w, "LOGIN") && !slices.Contains(w, "PASSWORD")
			}) {
				bare = append(bare, output.Clean(role.name))
			}
		}
		if err != nil {
			return err
		}
	}
	if len(bare) > 0 {
		g.env.Warn("roles that log in have no password in the dump: %s (give them one with \\password of psql)", strings.Join(bare, ", "))
	}
	return nil
}

func (g *globals) names(ctx context.Context, query string) ([]string, error) {
	defer g.stage.Wait(progress.ForServer, "")()
	rows, err := g.conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// makeRole makes a role and all that is said of it, or nothing.
func (g *globals) makeRole(ctx context.Context, role *global, object string) error {
	statements := []string{"BEGIN"}
	if role.create != "" {
		statements = append(statements, role.create)
	}
	for _, statement := range role.rest {
		if !g.super {
			statement = withoutDefaults(statement)
		}
		statements = append(statements, statement)
	}
	for _, statement := range append(statements, "COMMIT") {
		if err := g.exec(ctx, statement); err != nil {
			if lost := g.refusal(object, err); lost != nil {
				return lost
			}
			return g.exec(ctx, "ROLLBACK")
		}
	}
	g.summary.Made = append(g.summary.Made, object)
	return nil
}

// roleFacts are what is compared of a role, by the words of ALTER ROLE.
const roleFacts = `SELECT jsonb_build_object('superuser', rolsuper, 'inherit', rolinherit, 'createrole', rolcreaterole, 'createdb', rolcreatedb, 'login', rolcanlogin,
	'replication', rolreplication, 'bypassrls', rolbypassrls, 'connection limit', rolconnlimit, 'valid until', rolvaliduntil, 'settings', coalesce(to_jsonb((SELECT array_agg(c ORDER BY c) FROM unnest(rolconfig) c)), '[]'))
	FROM pg_catalog.pg_roles WHERE rolname = $1`

// compareRole lets the server say what the dump would change of a role that is there, and
// takes it back.
func (g *globals) compareRole(ctx context.Context, role *global, object string, own bool) error {
	before, err := g.facts(ctx, role.name)
	if err != nil {
		return err
	}
	if err := g.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	var failed error
	for _, statement := range role.rest {
		if words(statement)[0] != "ALTER" { // what is said of it changes nothing
			continue
		}
		if failed = g.exec(ctx, statement); failed != nil {
			break
		}
	}
	after := before
	if failed == nil {
		after, err = g.facts(ctx, role.name)
	}
	if err := errors.Join(err, g.exec(ctx, "ROLLBACK")); err != nil {
		return err
	}
	found := Problem{Object: object}
	if failed != nil {
		refused, is := errors.AsType[*pgconn.PgError](failed)
		if !is {
			return failed
		}
		found.Err = "it is there and could not be compared: " + refused.Message
		g.summary.Notes = append(g.summary.Notes, found)
		return nil
	}
	differences := different(before, after)
	if len(differences) == 0 {
		return nil
	}
	found.Err = "it is there and was left as it is: " + strings.Join(differences, ", ")
	if own {
		g.summary.Notes = append(g.summary.Notes, found)
	} else {
		g.summary.Differ = append(g.summary.Differ, found)
	}
	return nil
}

// facts are those of roleFacts, and the password's, which nobody is shown.
func (g *globals) facts(ctx context.Context, name string) (map[string]any, error) {
	defer g.stage.Wait(progress.ForServer, "")()
	facts := map[string]any{}
	if err := g.conn.QueryRow(ctx, roleFacts, name).Scan(&facts); err != nil || !g.secret {
		return facts, err
	}
	var password *string
	if err := g.conn.QueryRow(ctx, "SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1", name).Scan(&password); err != nil {
		return nil, err
	}
	facts[passwordFact] = ""
	if password != nil {
		facts[passwordFact] = *password
	}
	return facts, nil
}

const passwordFact = "password"

// different says in what two lists of facts differ: what is here, and what the dump has.
func different(here, dump map[string]any) (differences []string) {
	for fact, value := range here {
		switch is, other := fmt.Sprint(value), fmt.Sprint(dump[fact]); {
		case is == other:
		case fact == passwordFact:
			differences = append(differences, "another password")
		default:
			differences = append(differences, fmt.Sprintf("%s is %s, in the dump %s", fact, output.Clean(is), output.Clean(other)))
		}
	}
	slices.Sort(differences)
	return differences
}
