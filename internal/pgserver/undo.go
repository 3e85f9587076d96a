package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
	"capstan/internal/pg"
)

// UndoOptions say how to reach what was changed.
type UndoOptions struct {
	URL       string   // of the cluster's own server; empty: its socket
	Consumers []string // of subscribers, with passwords where one is needed
}

// undoPatience bounds one statement that puts a setting back.
const undoPatience = 15 * time.Second

// Undo puts back what was changed for a stop, as far as it can be reached now: a
// role and a subscription need their servers running, archive_command does not. It
// gives what is left. What could not be put back is in the error as well; it stays
// in the journal. Killed, it is called again.
func Undo(ctx context.Context, env Env, cluster *pg.Cluster, options UndoOptions) (left []Change, err error) {
	env = env.filled()
	journal, err := openJournal(ctx, env, cluster)
	if err != nil {
		return nil, err
	}
	err = undo(ctx, env, cluster, journal, options)
	return journal.changes(), errors.Join(err, journal.close())
}

// undo puts back everything that can be.
func undo(ctx context.Context, env Env, cluster *pg.Cluster, journal *Journal, options UndoOptions) error {
	var failures []error
	for _, change := range journal.changes() {
		if err := undoOne(ctx, env, cluster, journal, change, options); err != nil {
			failures = append(failures, &capstan.Error{
				Op: "put back", Object: change.String(), Err: err, Safe: "it stays in the journal",
				Next: "again, when its server runs: capstan pg stop --undo -D " + cluster.Dir,
			})
		}
	}
	return errors.Join(failures...)
}

func undoOne(ctx context.Context, env Env, cluster *pg.Cluster, journal *Journal, change Change, options UndoOptions) error {
	env.Step("undo " + string(change.Kind))
	switch change.Kind {
	case ChangeArchive:
		if err := undoArchive(cluster, env, change); err != nil {
			return err
		}
	case ChangeRole:
		server, err := cluster.Server()
		if err != nil {
			return err
		}
		if options.URL == "" && (server.Presence != pg.Alive || server.File.Port == 0) {
			return errors.New("its server does not run")
		}
		err = within(ctx, func(ctx context.Context) error {
			conn, err := cluster.Connect(ctx, server, options.URL)
			if err != nil {
				return err
			}
			return runAndClose(ctx, conn, "ALTER ROLE "+pgx.Identifier{change.Object}.Sanitize()+" LOGIN")
		})
		if err != nil {
			return err
		}
	case ChangeSubscription:
		err := within(ctx, func(ctx context.Context) error {
			conn, err := pg.Connect(ctx, withPassword(change.URL, options.Consumers))
			if err != nil {
				return err
			}
			return runAndClose(ctx, conn, "ALTER SUBSCRIPTION "+pgx.Identifier{change.Object}.Sanitize()+" ENABLE")
		})
		if err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown kind of change %q", change.Kind)
	}
	env.Step("strike " + string(change.Kind))
	if err := journal.strike(change); err != nil {
		return err
	}
	env.did(ctx, cluster, "put back: %s no more", change)
	return nil
}

// undoArchive restores the file, and tells a running server to read it.
func undoArchive(cluster *pg.Cluster, env Env, change Change) error {
	if err := rewriteAutoConf(env.FS, cluster, func(text string) string { return putBack(text, change.Line) }); err != nil {
		return err
	}
	server, err := cluster.Server()
	if err != nil || server.Presence != pg.Alive {
		return err
	}
	// While it stops, the postmaster ignores this, and that is right.
	if err := cluster.Signal(server.Process, syscall.SIGHUP, nil); err != nil && !gone(err) {
		return err
	}
	return nil
}

// within bounds one exchange with a server.
func within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, undoPatience)
	defer cancel()
	return do(ctx)
}

func runAndClose(ctx context.Context, conn *pgx.Conn, statement string) error {
	// The lock of another session must not hold this up for good.
	_, err := conn.Exec(ctx, "SET lock_timeout = '5s'; "+statement)
	if missing, ok := errors.AsType[*pgconn.PgError](err); ok && missing.Code == undefinedObject {
		err = nil // what was dropped since needs nothing put back
	}
	return errors.Join(err, conn.Close(ctx))
}

// undefinedObject is the SQLSTATE of a role or subscription that does not exist.
const undefinedObject = "42704"

// withoutPassword gives a URL that may be kept. One of keywords is kept only if it
// has no password.
func withoutPassword(text string) (string, error) {
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		if strings.Contains(strings.ToLower(text), "password") {
			return "", &capstan.Error{
				Class: capstan.ErrUsage, Op: "keep the connection string", Err: errors.New("it holds a password"),
				Next: "give the password in a URL, in PGPASSWORD or in a password file",
			}
		}
		return text, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", &capstan.Error{Class: capstan.ErrUsage, Op: "read a connection URL", Err: errors.New("it is not well formed")} // the error holds the URL
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	query := u.Query()
	for name := range query {
		if strings.Contains(strings.ToLower(name), "password") {
			query.Del(name)
		}
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// withPassword gives the URL among those that were given which is the kept one
// with its password, else the kept one.
func withPassword(kept string, given []string) string {
	for _, full := range given {
		if bare, err := withoutPassword(full); err == nil && bare == kept {
			return full
		}
	}
	return kept
}
