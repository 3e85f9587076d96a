package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// monitor looks at locks and at who waits for whom, from a session of its own that
// holds nothing.
type monitor struct {
	mu   sync.Mutex // one statement at a time
	conn *pgconn.PgConn

	watched struct {
		sync.Mutex
		ours    []uint32
		longest Inflicted
	}
}

// Inflicted is how long somebody else waited for a lock of the dump.
type Inflicted struct {
	Seconds     float64 `json:"seconds"`
	Table       string  `json:"table,omitempty"`
	PID         int     `json:"pid,omitempty"`
	User        string  `json:"user,omitempty"`
	Application string  `json:"application,omitempty"`
	Query       string  `json:"query,omitempty"`
}

func (m *monitor) texts(ctx context.Context, sql string) ([][]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return texts(ctx, m.conn, sql)
}

// ours says that a session belongs to the dump.
func (m *monitor) ours(pid uint32) {
	m.watched.Lock()
	defer m.watched.Unlock()
	m.watched.ours = append(m.watched.ours, pid)
}

// blockers tells who keeps a session from what it waits for; empty if nobody does.
func (m *monitor) blockers(ctx context.Context, pid uint32) (string, error) {
	return m.name(ctx, fmt.Sprintf(`select coalesce((select l.relation::regclass::text from pg_locks l where l.pid = %[1]d and not l.granted limit 1), 'a lock') as what,
		b.pid from (select distinct unnest(pg_blocking_pids(%[1]d)) as pid) b`, pid))
}

// holders tells who has locked one of the tables against everybody. It is for when
// nobody waits any more who could be asked about.
func (m *monitor) holders(ctx context.Context, names []string) (string, error) {
	return m.name(ctx, `select l.relation::regclass::text as what, coalesce(l.pid, 0) as pid from pg_locks l
		where l.granted and l.mode = 'AccessExclusiveLock' and l.relation in (select to_regclass(t.name) from unnest(array[`+literals(names)+`]::text[]) t(name))
		and l.database = (select oid from pg_database where datname = current_database())`)
}

// name describes the sessions that a query gives, with what they have locked.
func (m *monitor) name(ctx context.Context, sessions string) (string, error) {
	rows, err := m.texts(ctx, `select b.what, b.pid, coalesce(a.usename::text, a.backend_type, '?'), coalesce(a.application_name, ''), coalesce(a.state, ''),
		coalesce(round(extract(epoch from clock_timestamp() - coalesce(a.xact_start, a.query_start)))::text, '?'), coalesce(a.query, '')
		from (`+sessions+`) b left join pg_stat_activity a on a.pid = b.pid order by b.pid limit 5`)
	if err != nil {
		return "", err
	}
	var told []string
	for _, row := range rows {
		if row[1] == "0" {
			told = append(told, row[0]+" is locked by a prepared transaction")
			continue
		}
		told = append(told, fmt.Sprintf("%s is locked by process %s (user %s, application %q, %s, its transaction is %s s old): %s",
			row[0], row[1], row[2], row[3], row[4], row[5], oneLine(row[6])))
	}
	return strings.Join(told, "; "), nil
}

const queryShown = 200

// oneLine is a statement for a message.
func oneLine(query string) string {
	query = strings.Join(strings.Fields(query), " ")
	if len(query) > queryShown {
		query = strings.ToValidUTF8(query[:queryShown], "") + " …"
	}
	return query
}

// contested are those of the tables that somebody waits for with a lock that would
// make us wait behind him.
func (m *monitor) contested(ctx context.Context, tables []*table) (map[string]bool, error) {
	rows, err := m.texts(ctx, `select distinct relation from pg_locks where not granted and locktype = 'relation' and mode = 'AccessExclusiveLock'
		and database = (select oid from pg_database where datname = current_database())`)
	if err != nil {
		return nil, err
	}
	waited := map[string]bool{}
	for _, row := range rows {
		if slices.ContainsFunc(tables, func(t *table) bool { return t.oid == row[0] }) {
			waited[row[0]] = true
		}
	}
	return waited, nil
}

// lookEvery is the time between two looks at who waits for the dump: a wait that is
// shorter may be missed.
const lookEvery = 250 * time.Millisecond

// watch keeps the longest wait that the dump inflicts, and warns when the dump itself
// waits for somebody, until ctx ends. A look that fails is left out: it is no part of
// the dump.
func (m *monitor) watch(ctx context.Context, warn func(string, ...any)) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var warned time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		pids := m.pids()
		if len(pids) == 0 {
			continue
		}
		m.look(ctx, pids)
		if time.Since(warned) < warnEvery {
			continue
		}
		if blockers := m.held(ctx, pids); blockers != "" {
			warn("the dump waits: %s", blockers)
			warned = time.Now()
		}
	}
}

// warnEvery is the time between two warnings that the dump waits for somebody.
const warnEvery = 10 * time.Second

// pids are our sessions, for SQL.
func (m *monitor) pids() []string {
	m.watched.Lock()
	defer m.watched.Unlock()
	pids := make([]string, len(m.watched.ours))
	for i, pid := range m.watched.ours {
		pids[i] = strconv.FormatUint(uint64(pid), 10)
	}
	return pids
}

// held tells for whom one of our sessions has been waiting for seconds, if one has.
func (m *monitor) held(ctx context.Context, pids []string) string {
	rows, err := m.texts(ctx, fmt.Sprintf(`select pid from pg_stat_activity
		where pid = any(array[%s]) and wait_event_type = 'Lock' and clock_timestamp() - query_start > interval '3 seconds' limit 1`, strings.Join(pids, ",")))
	if err != nil || len(rows) == 0 {
		return ""
	}
	pid, err := strconv.ParseUint(rows[0][0], 10, 32)
	if err != nil {
		return ""
	}
	blockers, _ := m.blockers(ctx, uint32(pid)) // who is gone again holds nobody up
	return blockers
}

// look asks who waits for us. With many tables pg_locks is long, and whoever lists it
// stops everybody who wants a lock: it is only asked about those who wait, who are
// known from the list of sessions. Of a session of another user a role without
// pg_read_all_stats sees no more than that it is there.
func (m *monitor) look(ctx context.Context, pids []string) {
	ours := strings.Join(pids, ",")
	rows, err := m.texts(ctx, fmt.Sprintf(`select pid from pg_stat_activity
		where datid = (select oid from pg_database where datname = current_database()) and not pid = any(array[%[1]s])
		and case when wait_event_type = 'Lock' or state is null then pg_blocking_pids(pid) && array[%[1]s] else false end`, ours))
	if err != nil || len(rows) == 0 {
		return
	}
	waiting := make([]string, len(rows))
	for i, row := range rows {
		waiting[i] = row[0]
	}
	// Since 14 the server knows when a wait began; before, the statement's begin is
	// the nearest thing.
	rows, err = m.texts(ctx, fmt.Sprintf(`select extract(epoch from clock_timestamp() - coalesce((to_jsonb(l) ->> 'waitstart')::timestamptz, a.query_start)),
		l.relation::regclass, l.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.query, '')
		from pg_locks l join pg_stat_activity a on a.pid = l.pid
		where not l.granted and l.locktype = 'relation' and l.database = (select oid from pg_database where datname = current_database())
		and l.pid = any(array[%s]) order by 1 desc limit 1`, strings.Join(waiting, ",")))
	if err != nil || len(rows) == 0 {
		return
	}
	row := rows[0]
	seconds, err := strconv.ParseFloat(row[0], 64)
	if err != nil {
		return
	}
	m.watched.Lock()
	defer m.watched.Unlock()
	if seconds > m.watched.longest.Seconds {
		pid, _ := strconv.Atoi(row[2]) // a number of the server
		m.watched.longest = Inflicted{Seconds: seconds, Table: row[1], PID: pid, User: row[3], Application: row[4], Query: oneLine(row[5])}
	}
}

// longest is the longest wait that was seen.
func (m *monitor) longest() Inflicted {
	m.watched.Lock()
	defer m.watched.Unlock()
	return m.watched.longest
}
