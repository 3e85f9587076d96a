package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
)

const (
	// poolLooks is how often two sessions are compared. A pooler takes the server that
	// was used last, or longest ago: both show in the first look; more are for one that
	// is busy with others.
	poolLooks = 8
	// FirstAnswer is how long a new session may take to answer for the first time. A
	// pooler takes every connection, and lets it wait until it has a server for it.
	FirstAnswer = 30 * time.Second
)

// Unpooled refuses a pooler that gives each transaction whatever server is free
// (PgBouncer with pool_mode = transaction): what a session sets or locks would be
// another's. It asks two sessions for their server process, and sets nothing: ask it
// before anything is set.
func Unpooled(ctx context.Context, first, second *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeoutCause(ctx, FirstAnswer, errNoAnswer)
	defer cancel()
	var a, b string
	for range poolLooks {
		for _, look := range []struct {
			conn  *pgconn.PgConn
			known *string
		}{{first, &a}, {first, &a}, {second, &b}} {
			pid, err := backend(ctx, look.conn)
			switch {
			case err != nil:
				return err
			case *look.known == "":
				*look.known = pid
			case *look.known != pid:
				return pooled("a connection changes its server process")
			}
		}
		if a == b {
			return pooled("two connections have the same server process")
		}
	}
	return nil
}

var errNoAnswer = &capstan.Error{
	Op: "begin a session", Err: fmt.Errorf("the server takes the connection and has not answered for %s", FirstAnswer),
	Next: "if a pooler is between, its pool may be too small (pool_size of PgBouncer): connect to the server itself",
}

// Answering bounds the first statements of a session.
func Answering(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, FirstAnswer, errNoAnswer)
}

func pooled(how string) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "use the connection", Err: errors.New(how + ": a pooler is between, in transaction mode"),
		Safe: "nothing was locked or set", Next: "connect to the server itself, or to a pooler in session mode",
	}
}

// backend is the server process of a session at this moment.
func backend(ctx context.Context, conn *pgconn.PgConn) (string, error) {
	results, err := conn.Exec(ctx, "SELECT pg_catalog.pg_backend_pid()").ReadAll()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return "", errors.New("the server does not say which process it is")
	}
	return string(results[0].Rows[0][0]), nil
}
