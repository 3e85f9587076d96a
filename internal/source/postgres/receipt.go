package postgres

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"capstan/internal/pgcopy"
)

// ReceiptName is the file of a dump that holds its Receipt. pg_restore does not look
// at it.
const ReceiptName = "capstan-receipt.json"

// Receipt tells what the dump did to the server's locks, and what it holds.
type Receipt struct {
	Database string    `json:"database"`
	System   string    `json:"system_identifier,omitempty"` // of the cluster; empty where the role may not ask
	Server   string    `json:"server"`                      // version
	PgDump   string    `json:"pg_dump"`                     // version
	Snapshot time.Time `json:"snapshot"`
	// Jobs is how many sessions read tables, and JobsWhy what made it fewer than the
	// cores would, if nobody said the number.
	Jobs    int    `json:"jobs"`
	JobsWhy string `json:"jobs_because,omitempty"`
	// Standby says that the server replays what another does, and PausedSeconds for how
	// long that was paused.
	Standby       bool    `json:"standby,omitempty"`
	PausedSeconds float64 `json:"replay_paused_seconds,omitempty"`
	// SnapshotSeconds is how long the snapshot was kept: as long, the server could not
	// remove dead rows.
	SnapshotSeconds float64 `json:"snapshot_seconds"`
	// Attempts to lock everything, and the time from the first until all was locked.
	Attempts    int     `json:"attempts"`
	LockSeconds float64 `json:"lock_seconds"`
	// Inflicted is the longest time that anybody was seen to wait for the dump; it is
	// looked at four times a second.
	Inflicted Inflicted      `json:"inflicted"`
	Tables    []TableReceipt `json:"tables"`
	Large     LargeReceipt   `json:"large_objects"`
}

// TableReceipt is about one table that was locked, or read.
type TableReceipt struct {
	Table string `json:"table"`
	// OID and Filenode are what the server knew it by: a table of the same OID that has
	// another file node later was truncated or rewritten. Empty of foreign tables.
	OID      string `json:"oid,omitempty"`
	Filenode string `json:"filenode,omitempty"`

	Held  float64 `json:"held_seconds"` // how long it was locked
	Rows  int64   `json:"rows"`
	Bytes int64   `json:"bytes"` // of its data, not compressed
	File  string  `json:"file,omitempty"`
	Parts int64   `json:"parts,omitempty"` // in which several sessions read it
	// Contested says that somebody waited for it when the dump began: it was read by
	// the session that had locked it first.
	Contested bool `json:"contested,omitempty"`
}

// LargeReceipt is about the large objects.
type LargeReceipt struct {
	Count int64 `json:"count"`
	Bytes int64 `json:"bytes"`
}

// ledger collects the receipt. It is safe for concurrent use.
type ledger struct {
	mu       sync.Mutex
	ends     map[string]time.Time // of a worker's last lock on a table
	wrote    map[string]pgcopy.Result
	contests map[string]bool
	objects  LargeReceipt
	guardEnd time.Time
}

func newLedger() *ledger {
	return &ledger{ends: map[string]time.Time{}, wrote: map[string]pgcopy.Result{}, contests: map[string]bool{}}
}

// released says that a worker has let a table go, or is about to, with its next
// statement.
func (l *ledger) released(t *table) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[t.quoted] = time.Now()
}

func (l *ledger) contested(t *table) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.contests[t.quoted] = true
}

func (l *ledger) data(c *datum, r pgcopy.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrote[c.file] = r
}

func (l *ledger) large(bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects.Count++
	l.objects.Bytes += bytes
}

func (l *ledger) guardEnded() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.guardEnd = time.Now()
}

// tables makes the part of the receipt that is about them, in the order of names.
func (l *ledger) tables(h *held) []TableReceipt {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []TableReceipt
	for _, t := range h.tables {
		end := l.guardEnd
		if l.ends[t.quoted].After(end) {
			end = l.ends[t.quoted]
		}
		r := TableReceipt{Table: t.schema + "." + t.name, OID: t.oid, Filenode: t.filenode, Held: end.Sub(h.locked).Seconds(), Contested: l.contests[t.quoted]}
		for _, c := range t.copies {
			wrote := l.wrote[c.file]
			r.File, r.Rows, r.Bytes = c.file, r.Rows+wrote.Rows, r.Bytes+wrote.Bytes
		}
		if s := h.shares[t]; s != nil && s.parts > 1 {
			r.Parts = s.parts
		}
		all = append(all, r)
	}
	for _, c := range h.loose {
		wrote := l.wrote[c.file]
		all = append(all, TableReceipt{Table: c.tag, File: c.file, Rows: wrote.Rows, Bytes: wrote.Bytes})
	}
	slices.SortStableFunc(all, func(a, b TableReceipt) int { return cmp.Compare(a.Table, b.Table) })
	return all
}
