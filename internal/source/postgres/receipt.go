package postgres

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"capstan/internal/pgcopy"
	"capstan/internal/rowsum"
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
	Inflicted Inflicted `json:"inflicted"`
	// Session is what the server prints values by, as far as pg_dump leaves it to the
	// server, the database and the role.
	Session map[string]string `json:"session"`
	// HashMethod says how the hashes below are made (package rowsum); they are what a
	// drill compares a restored database with.
	HashMethod string         `json:"hash_method"`
	Contents   FileReceipt    `json:"toc"`
	Tables     []TableReceipt `json:"tables"`
	Large      LargeReceipt   `json:"large_objects"`
}

// FileReceipt is about a file as it was written: toc.dat.
type FileReceipt struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// ReceiptOf is about a file with that content.
func ReceiptOf(content []byte) FileReceipt {
	sum := sha256.Sum256(content)
	return FileReceipt{Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
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
	// Hash is that of the rows as the server sent them in answer to Statement, in the
	// session that pg_dump sets up; nil where only the definition is in the dump.
	Hash      *rowsum.Sum `json:"hash,omitempty"`
	Statement string      `json:"statement,omitempty"`
	File      string      `json:"file,omitempty"`
	Parts     int64       `json:"parts,omitempty"` // in which several sessions read it
	// Contested says that somebody waited for it when the dump began: it was read by
	// the session that had locked it first.
	Contested bool `json:"contested,omitempty"`
}

// LargeReceipt is about the large objects. Hash is the sum of the hashes of all; that
// of one is of its number in decimal, a line end, and its content.
type LargeReceipt struct {
	Count int64      `json:"count"`
	Bytes int64      `json:"bytes"`
	Hash  rowsum.Sum `json:"hash"`
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

func (l *ledger) large(bytes int64, hash rowsum.Sum) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects.Count++
	l.objects.Bytes += bytes
	l.objects.Hash.Add(hash)
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
			r.add(c, l.wrote[c.file])
		}
		if s := h.shares[t]; s != nil && s.parts > 1 {
			r.Parts = s.parts
		}
		all = append(all, r)
	}
	for _, c := range h.loose {
		r := TableReceipt{Table: c.tag}
		r.add(c, l.wrote[c.file])
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b TableReceipt) int { return cmp.Compare(a.Table, b.Table) })
	return all
}

// add notes what was read of the table.
func (r *TableReceipt) add(c *datum, wrote pgcopy.Result) {
	if r.Hash == nil {
		r.Hash = &rowsum.Sum{}
	}
	r.Hash.Add(wrote.Sum)
	r.File, r.Statement, r.Rows, r.Bytes = c.file, c.SQL, r.Rows+wrote.Rows, r.Bytes+wrote.Bytes
}
