package pglock

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Session is a connection to the server, and what it is about.
type Session struct {
	PID         int     `json:"pid"`
	Database    string  `json:"database"`
	Role        string  `json:"role"`
	Application string  `json:"application"`
	Client      string  `json:"client"`              // address, or "local"
	State       string  `json:"state"`               // of pg_stat_activity; empty for the server's own workers
	Query       string  `json:"query"`               // its statement, the last one if it is idle; cut by track_activity_query_size
	XactSecs    float64 `json:"transaction_seconds"` // age of its transaction; 0: none
	QuerySecs   float64 `json:"query_seconds"`       // since the statement began, or the state if it is idle
}

// Blocker is a session that another one waits for.
type Blocker struct {
	Session
	// Queued says that it waits itself for the same object, and stands before the
	// other in the queue. Else it holds the lock.
	Queued bool   `json:"queued"`
	Mode   string `json:"mode"` // that it holds or asks for; empty for what is not seen in pg_locks (a prepared transaction)
}

// Wait is a session that waits for a lock.
type Wait struct {
	Session
	Kind    string    `json:"kind"`   // locktype of pg_locks: relation, transactionid, advisory …
	Object  string    `json:"object"` // "public.orders", "transaction 812"
	Mode    string    `json:"mode"`   // AccessExclusiveLock …
	Seconds float64   `json:"seconds"`
	Behind  []Blocker `json:"behind"` // by PID

	relation lockedObject
}

// lockedObject tells objects apart: a relation or whatever else pg_locks names.
type lockedObject struct{ kind, key string }

// Report is what one look saw.
type Report struct {
	Time   time.Time `json:"time"`  // of the server
	Waits  []Wait    `json:"waits"` // the longest first
	Advice []Advice  `json:"advice"`
}

// patience bounds each question at the server: a look must not become a wait.
const patience = "SET statement_timeout = '15s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '60s'"

// Prepare bounds what the questions of this package may take on a connection. Through a
// pooler it sets nothing: that might be for others. The protocol tells of one by another
// process number than the server's own.
func Prepare(ctx context.Context, conn *pgx.Conn) error {
	var pid uint32
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", oneTrip).Scan(&pid); err != nil {
		return err
	}
	if pid != conn.PgConn().PID() {
		return nil
	}
	_, err := conn.Exec(ctx, patience)
	return err
}

// Look sees who waits for whom on the whole server, in every database. Names of
// relations are known for the connection's own database; others are numbers. It
// needs no privilege, but a role without pg_read_all_stats sees no statements of
// others. A wait that ends while the look is on may be seen in part.
func Look(ctx context.Context, conn *pgx.Conn) (Report, error) {
	report := Report{Waits: []Wait{}, Advice: []Advice{}}
	if err := conn.QueryRow(ctx, "SELECT clock_timestamp()", oneTrip).Scan(&report.Time); err != nil {
		return report, err
	}
	sessions, err := sessionsOf(ctx, conn)
	if err != nil {
		return report, err
	}
	held, err := locksOf(ctx, conn)
	if err != nil {
		return report, err
	}
	for _, lock := range held {
		if lock.granted {
			continue
		}
		wait := Wait{Session: named(sessions, lock.pid), Kind: lock.of.kind, Object: lock.object, Mode: lock.mode, Seconds: lock.seconds, relation: lock.of, Behind: []Blocker{}}
		if wait.Seconds < 0 { // 13 does not say since when
			wait.Seconds = wait.QuerySecs
		}
		for _, pid := range lock.behind {
			blocker := Blocker{Session: named(sessions, int(pid))}
			blocker.Mode, blocker.Queued = asked(held, blocker.PID, lock.of)
			wait.Behind = append(wait.Behind, blocker)
		}
		slices.SortFunc(wait.Behind, func(a, b Blocker) int { return a.PID - b.PID })
		report.Waits = append(report.Waits, wait)
	}
	slices.SortStableFunc(report.Waits, func(a, b Wait) int {
		switch {
		case a.Seconds > b.Seconds:
			return -1
		case a.Seconds < b.Seconds:
			return 1
		}
		return a.PID - b.PID
	})
	report.Advice = advise(report.Waits)
	return report, nil
}

func named(sessions map[int]Session, pid int) Session {
	if s, ok := sessions[pid]; ok {
		return s
	}
	return Session{PID: pid} // 0 is a prepared transaction; else it has ended by now
}

// asked is the strongest lock on an object that a session holds, or the one that it
// waits for itself if it holds none.
func asked(all []lock, pid int, of lockedObject) (mode string, queued bool) {
	for _, l := range all {
		switch {
		case l.pid != pid || l.of != of:
		case l.granted && (mode == "" || queued || strength(l.mode) > strength(mode)):
			mode, queued = l.mode, false
		case !l.granted && mode == "":
			mode, queued = l.mode, true
		}
	}
	return mode, queued
}

// strength orders the modes of relation locks, the weakest is 0; -1 is none of them.
func strength(mode string) int {
	return slices.Index([]string{
		"AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock",
		"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
	}, mode)
}
