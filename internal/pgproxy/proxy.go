package pgproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// port is in the socket's name, as libpq wants it.
const port = "5432"

// Proxy is a socket that one pg_dump connects to.
type Proxy struct {
	dir      string
	listener net.Listener
}

// Listen makes the socket in a new directory, for the owner of this process alone.
// Close removes both.
func Listen(ctx context.Context) (*Proxy, error) {
	// The path of a socket is at most 107 bytes long.
	dir, err := os.MkdirTemp("", "capstan-")
	if err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "unix", filepath.Join(dir, ".s.PGSQL."+port))
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	return &Proxy{dir: dir, listener: listener}, nil
}

// Environment is what libpq needs to know to connect here.
func (p *Proxy) Environment() []string {
	return []string{"PGHOST=" + p.dir, "PGPORT=" + port, "PGSSLMODE=disable", "PGGSSENCMODE=disable", "PGCONNECT_TIMEOUT=60"}
}

// Close ends Serve's waiting for pg_dump, and removes the socket.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// Transcript is what pg_dump was seen to do.
type Transcript struct {
	Settings []string // the statements that set its session up, in their order
	Locks    []string // the tables that it wanted locked, qualified and quoted
	Copies   []Copy   // in their order
}

// Session is how to serve one pg_dump. Its fields are set once.
type Session struct {
	Conn *pgconn.PgConn // in use by nobody else until Serve has returned
	// Lent says that Conn is in a transaction, which is to be pg_dump's.
	Lent bool
	// Admit is called once, when pg_dump has locked all it wants; its error ends the
	// dump. nil admits all.
	Admit func(locks []string) error
	// Copying is called once, with the first COPY: pg_dump has then written its table of
	// contents. Its error ends the dump. nil lets it go on to its end.
	Copying func(first Copy) error
}

// Serve waits for pg_dump to connect and serves it until it ends its session. The
// transcript is right as far as it goes, beside an error too.
func (p *Proxy) Serve(ctx context.Context, s Session) (Transcript, error) {
	stop := context.AfterFunc(ctx, func() { _ = p.listener.Close() })
	defer stop()
	conn, err := p.listener.Accept()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return Transcript{}, err
	}
	defer func() { _ = conn.Close() }() // pg_dump has ended its session, or is to be cut off
	cut := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer cut()
	v := &serving{Session: s, client: pgproto3.NewBackend(conn, conn)}
	err = v.run(ctx, conn)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return v.seen, err
}

// serving is one session of pg_dump.
type serving struct {
	Session
	client   *pgproto3.Backend
	seen     Transcript
	admitted bool
	refused  *pgconn.PgError // the first error of the server
	// restriction is how pg_dump restricts itself at present; empty: as it began.
	restriction string
}

func (v *serving) run(ctx context.Context, conn net.Conn) error {
	if err := v.greet(conn); err != nil {
		return fmt.Errorf("pg_dump's connection: %w", err)
	}
	for {
		message, err := v.client.Receive()
		switch {
		case v.refused != nil && err != nil:
			return v.refused // pg_dump was told, and has gone
		case err != nil:
			return fmt.Errorf("pg_dump's connection: %w", err)
		}
		if _, over := message.(*pgproto3.Terminate); over {
			if v.refused != nil {
				return v.refused
			}
			return nil
		}
		if err := v.answer(ctx, message); err != nil {
			return err
		}
	}
}

// greeted are the parameters that a server reports when a session begins.
var greeted = [...]string{
	"server_version", "server_encoding", "client_encoding", "application_name", "is_superuser", "session_authorization", "DateStyle",
	"IntervalStyle", "TimeZone", "integer_datetimes", "standard_conforming_strings", "default_transaction_read_only", "in_hot_standby",
}

// greet lets pg_dump in and tells it about the server that it seems to be.
func (v *serving) greet(conn net.Conn) error {
	for {
		message, err := v.client.ReceiveStartupMessage()
		if err != nil {
			return err
		}
		switch message.(type) {
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest:
			if _, err := conn.Write([]byte{'N'}); err != nil {
				return err
			}
			continue
		case *pgproto3.StartupMessage:
		default:
			return fmt.Errorf("it begins with %T", message)
		}
		break
	}
	v.client.Send(&pgproto3.AuthenticationOk{})
	for _, name := range greeted {
		if value := v.Conn.ParameterStatus(name); value != "" {
			v.client.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
		}
	}
	return v.ready()
}

// ready says that the next statement may come.
func (v *serving) ready() error {
	v.client.Send(&pgproto3.ReadyForQuery{TxStatus: v.Conn.TxStatus()})
	return v.client.Flush()
}
