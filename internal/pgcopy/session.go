package pgcopy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"capstan/internal/rowsum"
)

// Session is a connection that COPY statements are carried out on.
type Session struct {
	conn   net.Conn
	taken  *pgconn.HijackedConn
	in     buffer
	sent   int   // statements whose answer has not been read
	broken error // why the session can only be closed
}

// Result is what a COPY gave.
type Result struct {
	Rows  int64
	Bytes int64 // of data, as COPY writes it
	Sum   rowsum.Sum
}

// Take takes an idle connection over; conn must not be used any more, also not closed.
// It may have to ask the server something, which ends with ctx.
func Take(ctx context.Context, conn *pgconn.PgConn) (*Session, error) {
	// After a write that took long (15 ms: a busy machine) the driver may still read in
	// the background, and would take the beginning of the data.
	if err := conn.SyncConn(ctx); err != nil {
		return nil, err
	}
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
	if err := s.Send(ctx, sql); err != nil {
		return err
	}
	_, err := s.Receive(ctx, nil)
	return err
}

// Copy carries out statements of which the last is a COPY … TO STDOUT; its data goes
// to w, in pieces of any length that are valid until Write returns.
func (s *Session) Copy(ctx context.Context, sql string, w io.Writer) (Result, error) {
	if err := s.Send(ctx, sql); err != nil {
		return Result{}, err
	}
	return s.Receive(ctx, w)
}

// Send asks for statements to be carried out after those that were sent before, and
// does not wait for the server. Receive reads the answers, in their order. What is
// sent and not yet answered must be little: some thousand bytes.
func (s *Session) Send(ctx context.Context, sql string) error {
	if s.broken != nil {
		return s.broken
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.until(ctx, func() error {
		query, err := (&pgproto3.Query{String: sql}).Encode(nil)
		if err != nil {
			return err
		}
		if _, err := s.conn.Write(query); err != nil {
			s.broken = s.lastWord(fmt.Errorf("the connection to the server broke: %w", err))
			return s.broken
		}
		s.sent++
		return nil
	})
}

// lastWord gives what the server said before it went, else what was found broken.
func (s *Session) lastWord(broken error) error {
	a := answer{w: io.Discard}
	for a.refused == nil && a.next(&s.in) == nil { // answers to what was sent before come first
	}
	if a.refused != nil {
		return a.refused
	}
	return broken
}

// Receive waits for the answer to the first of the statements that were sent, and does
// with it what Copy does, or without a writer what Exec does.
func (s *Session) Receive(ctx context.Context, w io.Writer) (result Result, err error) {
	return s.receive(ctx, w, func(a *answer) bool { return a.ready })
}

// Next waits for the data of the next COPY where several were sent at once. The call
// after the last of them is Receive without a writer; after an error of the server
// there is nothing left to be received.
func (s *Session) Next(ctx context.Context, w io.Writer) (Result, error) {
	return s.receive(ctx, w, func(a *answer) bool { return a.ready || a.refused == nil && strings.HasPrefix(a.tag, copyTag) })
}

func (s *Session) receive(ctx context.Context, w io.Writer, whole func(*answer) bool) (result Result, err error) {
	switch {
	case s.broken != nil:
		return Result{}, s.broken
	case s.sent == 0:
		return Result{}, errors.New("nothing was asked for")
	case ctx.Err() != nil:
		return Result{}, context.Cause(ctx)
	}
	err = s.until(ctx, func() error {
		result, err = s.answer(w, whole)
		return err
	})
	return result, err
}

// until does something with the connection, and breaks it off when ctx ends.
func (s *Session) until(ctx context.Context, do func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	err := do()
	if !stop() { // the deadline is over, or about to be
		s.broken = context.Cause(ctx)
		return s.broken
	}
	return err
}

// copyTag is how the server names a COPY that it has carried out, before the rows.
const copyTag = "COPY "

// answer reads what comes back to one query, until it is whole.
func (s *Session) answer(w io.Writer, whole func(*answer) bool) (Result, error) {
	a := answer{w: w}
	for !whole(&a) {
		if err := a.next(&s.in); err != nil {
			if a.refused != nil { // what the server said before it went is the reason
				err = a.refused
			}
			s.broken = err
			return a.Result, err
		}
	}
	if a.ready {
		s.sent--
	}
	switch {
	case a.refused != nil:
		return a.Result, a.refused
	case w == nil:
		return a.Result, nil
	case !strings.HasPrefix(a.tag, copyTag):
		s.broken = fmt.Errorf("the server answered %q to a COPY", a.tag)
		return a.Result, s.broken
	}
	if sent, err := strconv.ParseInt(strings.TrimPrefix(a.tag, copyTag), 10, 64); err != nil || sent != a.Rows {
		s.broken = fmt.Errorf("%d rows came, and the server says %q", a.Rows, a.tag)
		return a.Result, s.broken
	}
	return a.Result, nil
}

// Close ends the session at the server too, also one in the middle of a statement.
// It takes no longer than ctx allows.
func (s *Session) Close(ctx context.Context) error {
	defer func() { _ = s.conn.Close() }() // what is read only loses nothing
	if s.broken != nil || s.sent > 0 {
		return s.giveUp(ctx)
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

// firstPause is how long a server that was asked to stop has, before it is asked again.
const firstPause = 20 * time.Millisecond

// giveUp ends the session of a server that carries statements out, or is about to: it
// does not look at its connection, and wants to be told. What it is told between two
// statements it forgets, so it is told until it has gone.
func (s *Session) giveUp(ctx context.Context) error {
	rest, err := pgconn.Construct(s.taken)
	if err != nil {
		return err
	}
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // nothing more is asked for; a connection that is broken needs no saying
	}
	for pause := firstPause; ; pause = min(2*pause, time.Second) {
		if err := rest.CancelRequest(ctx); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if s.hasEnded(ctx, pause) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// hasEnded waits for the server to end the connection, and drops what it still sends.
func (s *Session) hasEnded(ctx context.Context, patience time.Duration) bool {
	deadline := time.Now().Add(patience)
	if last, ok := ctx.Deadline(); ok && last.Before(deadline) {
		deadline = last
	}
	if s.conn.SetDeadline(deadline) != nil {
		return true
	}
	for {
		if _, err := s.conn.Read(s.in.data); err != nil {
			return !errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}
