package pgcopy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Session is a connection that COPY statements are carried out on.
type Session struct {
	conn   net.Conn
	taken  *pgconn.HijackedConn
	in     buffer
	broken error // why the session can only be closed
}

// Result is what a COPY gave.
type Result struct {
	Rows  int64
	Bytes int64 // of data, as COPY writes it
}

// Take takes an idle connection over; conn must not be used any more, also not closed.
func Take(conn *pgconn.PgConn) (*Session, error) {
	taken, err := conn.Hijack()
	if err != nil {
		return nil, err
	}
	return &Session{conn: taken.Conn, taken: taken, in: buffer{from: taken.Conn, data: make([]byte, bufferSize)}}, nil
}

// PID is the process id of the server's side.
func (s *Session) PID() uint32 { return s.taken.PID }

// Exec carries out statements that give no data.
func (s *Session) Exec(ctx context.Context, sql string) error {
	_, err := s.run(ctx, sql, nil)
	return err
}

// Copy carries out statements of which the last is a COPY … TO STDOUT; its data goes
// to w, in pieces of any length that are valid until Write returns.
func (s *Session) Copy(ctx context.Context, sql string, w io.Writer) (Result, error) {
	return s.run(ctx, sql, w)
}

func (s *Session) run(ctx context.Context, sql string, w io.Writer) (Result, error) {
	if s.broken != nil {
		return Result{}, s.broken
	}
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	result, err := s.exchange(sql, w)
	if !stop() { // the deadline is over, or about to be
		s.broken = context.Cause(ctx)
		return result, s.broken
	}
	return result, err
}

// exchange sends statements and reads all that comes back.
func (s *Session) exchange(sql string, w io.Writer) (Result, error) {
	query, err := (&pgproto3.Query{String: sql}).Encode(nil)
	if err != nil {
		return Result{}, err
	}
	a := answer{w: w}
	if _, err := s.conn.Write(query); err != nil {
		s.broken = fmt.Errorf("the connection to the server broke: %w", err)
		for !a.ready && a.next(&s.in) == nil { // what it said before it went
		}
		if a.refused != nil {
			s.broken = a.refused
		}
		return Result{}, s.broken
	}
	for !a.ready {
		if err := a.next(&s.in); err != nil {
			if a.refused != nil { // what the server said before it went is the reason
				err = a.refused
			}
			s.broken = err
			return a.Result, err
		}
	}
	switch {
	case a.refused != nil:
		return a.Result, a.refused
	case w == nil:
		return a.Result, nil
	case !strings.HasPrefix(a.tag, "COPY "):
		s.broken = fmt.Errorf("the server answered %q to a COPY", a.tag)
		return a.Result, s.broken
	}
	if sent, err := strconv.ParseInt(strings.TrimPrefix(a.tag, "COPY "), 10, 64); err != nil || sent != a.Rows {
		s.broken = fmt.Errorf("%d rows came, and the server says %q", a.Rows, a.tag)
		return a.Result, s.broken
	}
	return a.Result, nil
}

// Close ends the session at the server too, also one in the middle of a statement.
// It takes no longer than ctx allows.
func (s *Session) Close(ctx context.Context) error {
	defer func() { _ = s.conn.Close() }() // what is read only loses nothing
	if s.broken != nil {
		// A server in a statement does not look at its connection: it wants to be told.
		rest, err := pgconn.Construct(s.taken)
		if err != nil {
			return err
		}
		if err := rest.CancelRequest(ctx); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = s.conn.SetDeadline(deadline)
	}
	over, err := (&pgproto3.Terminate{}).Encode(nil)
	if err == nil {
		_, err = s.conn.Write(over)
	}
	return err
}
