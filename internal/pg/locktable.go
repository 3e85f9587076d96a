package pg

// LockTable is the room of a server's lock table, in locked objects. The server keeps
// an object for each table that is locked and a holder for each lock, and has room for
// twice as many holders as objects (src/backend/storage/lmgr/lock.c, NLOCKENTS); it can
// borrow a little beyond it, which is not counted on.
type LockTable struct {
	Room           int64 // objects that there is room for
	Used           int64 // relations that are in it now
	PerTransaction int64 // max_locks_per_transaction
}

// LockTableQuery gives the three numbers of a LockTable.
const LockTableQuery = `SELECT current_setting('max_locks_per_transaction')::bigint * (1 + (SELECT sum(setting::bigint) FROM pg_settings
		WHERE name IN ('max_connections', 'max_prepared_transactions', 'autovacuum_max_workers', 'max_worker_processes', 'max_wal_senders')))::bigint,
	(SELECT count(DISTINCT (database, relation)) FROM pg_locks WHERE locktype = 'relation' AND NOT fastpath),
	current_setting('max_locks_per_transaction')::bigint`

// spareLocks are for what is locked beside tables: catalogs, indexes, TOAST.
const spareLocks = 100

// Advise gives the max_locks_per_transaction with which there is room for so many more
// tables, each locked by two sessions at most; 0 where there is room.
func (l LockTable) Advise(tables int64) int64 {
	needed := tables + spareLocks + l.Used
	if needed <= l.Room {
		return 0
	}
	return needed/max(l.Room/max(l.PerTransaction, 1), 1) + 1
}
