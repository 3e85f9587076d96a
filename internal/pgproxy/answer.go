package pgproxy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// The functions by which libpq reads large objects; their numbers are in pg_proc.dat
// and have never changed.
const (
	loOpen  = 952
	loClose = 953
	loRead  = 954
)

// answer answers one message of pg_dump, itself or through the server.
func (v *serving) answer(ctx context.Context, message pgproto3.FrontendMessage) error {
	switch m := message.(type) {
	case *pgproto3.Query:
		return v.query(ctx, m)
	case *pgproto3.FunctionCall:
		switch m.Function {
		case loOpen, loClose: // a descriptor, then success: both are 0 in four bytes
			v.client.Send(&pgproto3.FunctionCallResponse{Result: make([]byte, 4)})
			return v.ready()
		case loRead:
			v.client.Send(&pgproto3.FunctionCallResponse{Result: []byte{}})
			return v.ready()
		}
	}
	return v.pass(ctx, message)
}

func (v *serving) query(ctx context.Context, query *pgproto3.Query) error {
	sql := query.String
	if strings.HasPrefix(sql, lockBegin) {
		names, err := parseLock(sql)
		if err != nil {
			return v.refuse(err)
		}
		v.seen.Locks = append(v.seen.Locks, names...)
		return v.done("LOCK TABLE")
	}
	if len(v.seen.Locks) > 0 && !v.admitted {
		v.admitted = true
		if v.Admit != nil {
			if err := v.Admit(v.seen.Locks); err != nil {
				return v.refuse(err)
			}
		}
	}
	switch {
	case v.restricts(sql):
		// Of the next COPY alone.
	case strings.HasPrefix(sql, copyBegin):
		return v.copy(sql)
	case v.Lent && sql == "BEGIN":
		return v.done("BEGIN")
	case v.Lent && strings.HasPrefix(sql, "SET TRANSACTION "), strings.HasPrefix(sql, "SET lock_timeout "):
		return v.done("SET")
	case strings.HasPrefix(sql, "SET ") && !strings.HasPrefix(sql, "SET TRANSACTION "),
		strings.HasPrefix(sql, "SELECT ") && strings.Contains(sql, "set_config("):
		v.seen.Settings = append(v.seen.Settings, strings.Clone(sql))
	}
	return v.pass(ctx, query)
}

// restriction is the setting with which pg_dump keeps itself from reading views and
// foreign tables, and which it loosens for a foreign table whose data is asked for.
const restriction = "'restrict_nonsystem_relation_kind'"

// restricts notes that pg_dump sets its restriction anew; the first time belongs to how
// it sets its session up.
func (v *serving) restricts(sql string) bool {
	if !strings.HasPrefix(sql, "SELECT ") || !strings.Contains(sql, "set_config(") || !strings.Contains(sql, restriction) {
		return false
	}
	first := !slices.ContainsFunc(v.seen.Settings, func(s string) bool { return strings.Contains(s, restriction) })
	if !first {
		v.restriction = strings.Clone(sql)
	}
	return !first
}

// copy answers a COPY with its marker.
func (v *serving) copy(sql string) error {
	parsed, err := parseCopy(sql)
	if err != nil {
		return v.refuse(err)
	}
	parsed.Setting = v.restriction
	v.seen.Copies = append(v.seen.Copies, parsed)
	if len(v.seen.Copies) == 1 && v.Copying != nil {
		if err := v.Copying(parsed); err != nil {
			return v.refuse(err)
		}
	}
	v.client.Send(&pgproto3.CopyOutResponse{ColumnFormatCodes: []uint16{}})
	v.client.Send(&pgproto3.CopyData{Data: marker(len(v.seen.Copies) - 1)})
	v.client.Send(&pgproto3.CopyDone{})
	return v.done("COPY 1")
}

// done answers a statement that the server never sees.
func (v *serving) done(tag string) error {
	v.client.Send(&pgproto3.CommandComplete{CommandTag: []byte(tag)})
	return v.ready()
}

// refuse tells pg_dump that it is over, and why, and gives err back.
func (v *serving) refuse(err error) error {
	v.client.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57014", Message: err.Error()})
	_ = v.client.Flush() // pg_dump may be gone; the reason is err
	return err
}

// flushEvery is how many messages are handed on at once.
const flushEvery = 64

// pass hands a message to the server, and to pg_dump whatever it answers.
func (v *serving) pass(ctx context.Context, message pgproto3.FrontendMessage) error {
	server := v.Conn.Frontend()
	server.Send(message)
	if err := server.Flush(); err != nil {
		return v.last(ctx, err)
	}
	for count := 1; ; count++ {
		answer, err := v.Conn.ReceiveMessage(ctx)
		if err != nil {
			return v.lost(err)
		}
		v.client.Send(answer)
		switch m := answer.(type) {
		case *pgproto3.ErrorResponse:
			if v.refused == nil {
				v.refused = pgconn.ErrorResponseToPgError(m)
			}
		case *pgproto3.ReadyForQuery:
			return v.client.Flush()
		}
		if count%flushEvery == 0 {
			if err := v.client.Flush(); err != nil {
				return fmt.Errorf("pg_dump's connection: %w", err)
			}
		}
	}
}

// last tells why nothing more can be sent to the server: what it said before it went.
func (v *serving) last(ctx context.Context, err error) error {
	for v.refused == nil {
		answer, lost := v.Conn.ReceiveMessage(ctx)
		if lost != nil {
			break
		}
		if m, ok := answer.(*pgproto3.ErrorResponse); ok {
			v.refused = pgconn.ErrorResponseToPgError(m)
		}
	}
	return v.lost(err)
}

// lost tells why nothing comes from the server any more: what it said last, if it did.
func (v *serving) lost(err error) error {
	if v.refused != nil {
		return v.refused
	}
	return fmt.Errorf("the server's connection: %w", err)
}
