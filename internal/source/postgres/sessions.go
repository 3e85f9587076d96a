package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgcopy"
)

// endPatience is how long ending a session may take.
const endPatience = 5 * time.Second

// sessions are the connections of one dump. All of them are ended with it, however it
// ends: a session that is left behind would keep its locks.
type sessions struct {
	endpoint *pg.Endpoint
	mu       sync.Mutex
	open     map[*pgconn.PgConn]ending
}

// ending ends a session; abrupt says that it may be in the middle of a statement.
type ending func(ctx context.Context, abrupt bool)

// connect makes one more connection.
func (s *sessions) connect(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := s.endpoint.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c := conn.PgConn()
	s.set(c, func(ctx context.Context, abrupt bool) { end(ctx, c, abrupt) })
	return c, nil
}

// take takes a session over for reading data.
func (s *sessions) take(ctx context.Context, conn *pgconn.PgConn) (*pgcopy.Session, error) {
	stream, err := pgcopy.Take(ctx, conn)
	if err != nil {
		return nil, cause(ctx, err)
	}
	s.set(conn, func(ctx context.Context, _ bool) { _ = stream.Close(ctx) }) // it knows itself whether it is in a statement
	return stream, nil
}

func (s *sessions) set(conn *pgconn.PgConn, e ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*pgconn.PgConn]ending{}
	}
	s.open[conn] = e
}

// drop ends one session that nothing is done in.
func (s *sessions) drop(ctx context.Context, conn *pgconn.PgConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
	end(ctx, conn, false)
}

// end ends all sessions, at the same time. It takes some seconds at most, and ctx
// should not be one that is over.
func (s *sessions) end(ctx context.Context, abrupt bool) {
	ctx, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all sync.WaitGroup
	for _, one := range s.open {
		all.Go(func() { one(ctx, abrupt) })
	}
	all.Wait()
	s.open = nil
}

// end ends one session. A server that carries a statement out does not look at its
// connection, and would keep its locks until the end of it: it is told to stop.
// Errors are for nobody: a connection that is broken has ended.
func end(ctx context.Context, conn *pgconn.PgConn, abrupt bool) {
	if conn.IsClosed() {
		select { // the driver is telling the server, or pgcopy has it
		case <-conn.CleanupDone():
		case <-ctx.Done():
		}
		return
	}
	if abrupt {
		_ = conn.CancelRequest(ctx)
	}
	_ = conn.Close(ctx)
}

// texts carries statements out and gives the rows of the last, as text.
func texts(ctx context.Context, conn *pgconn.PgConn, sql string) ([][]string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, cause(ctx, err)
	}
	if len(results) == 0 {
		return nil, nil
	}
	var rows [][]string
	for _, row := range results[len(results)-1].Rows {
		fields := make([]string, len(row))
		for i := range row {
			fields[i] = string(row[i])
		}
		rows = append(rows, fields)
	}
	return rows, nil
}

// text is the one value of a query.
func text(ctx context.Context, conn *pgconn.PgConn, sql string) (string, error) {
	rows, err := texts(ctx, conn, sql)
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return "", fmt.Errorf("%d rows for %s", len(rows), sql)
	}
	return rows[0][0], nil
}

// exec carries statements out.
func exec(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	_, err := texts(ctx, conn, sql)
	return err
}

// cause puts why a context ended in the place of what that led to.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// literal quotes a string for SQL.
func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// literals are the elements of an array constructor.
func literals(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = literal(s)
	}
	return strings.Join(quoted, ",")
}

// code is the SQLSTATE of an error of the server, else empty.
func code(err error) string {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refused.Code
	}
	return ""
}

// The conditions of the server that are told apart
// (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const (
	codeLockTimeout = "55P03"
	codeDeadlock    = "40P01"
	codeNoTable     = "42P01"
	codeNoSchema    = "3F000"
	codeInternal    = "XX000" // "cache lookup failed", "could not open relation": dropped meanwhile
	codeNoObject    = "42704"
	codeNoFunction  = "42883"
	codeNoPrivilege = "42501"
	codeOutOfMemory = "53200" // also of lock slots
	codeConflict    = "40001" // on a standby: what is replayed needs what the session has
)

// failure names what a step was about.
func failure(op, object string, err error) error {
	if err == nil {
		return nil
	}
	told := &capstan.Error{Op: op, Object: object, Err: err}
	switch code(err) {
	case codeNoPrivilege:
		told.Next = "grant the right to the role that dumps, or leave it out with --exclude-table"
	case codeConflict:
		told.Next = conflictAdvice
	case codeOutOfMemory:
		told.Next = "if it is about locks, raise max_locks_per_transaction"
	}
	return told
}
