package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"capstan"
)

// beginWrite takes the write lock at once: a transaction that reads first and
// writes later could fail in its middle.
const beginWrite = "BEGIN IMMEDIATE"

const (
	// busyTimeout is how long SQLite itself waits for a lock; it polls every few
	// milliseconds and heeds the context. Longer waits are declared.
	busyTimeout = 50 * time.Millisecond
	// openTimeout is the same for what is not retried: readers, which wait only
	// while another process recovers the file after a crash, and migrations.
	openTimeout = 30 * time.Second
	readers     = 8
	// A checkpoint every 4000 pages (16 MiB) keeps the log short and lets a
	// transaction of the entry writer (6 MiB) pass without one.
	checkpointPages = 4000
	writerCacheKiB  = 16 << 10
	readerCacheKiB  = 2 << 10
)

// dataSource names a SQLite file for the driver.
func dataSource(path string, query url.Values, pragmas ...string) string {
	slashed := filepath.ToSlash(path)
	if runtime.GOOS == "windows" && !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed
	}
	if query == nil {
		query = url.Values{}
	}
	query["_pragma"] = pragmas
	return "file:" + (&url.URL{Path: slashed}).EscapedPath() + "?" + query.Encode()
}

func pragma(name string, value any) string { return fmt.Sprintf("%s(%v)", name, value) }

func openWriter(path string, timeout time.Duration) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dataSource(path, url.Values{"_txlock": {"immediate"}, "mode": {"rw"}},
		pragma("busy_timeout", timeout.Milliseconds()), pragma("synchronous", "full"), pragma("foreign_keys", 1),
		pragma("cache_size", -writerCacheKiB), pragma("wal_autocheckpoint", checkpointPages), pragma("journal_size_limit", 4096*checkpointPages)))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func openReads(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dataSource(path, url.Values{"mode": {"ro"}},
		pragma("busy_timeout", openTimeout.Milliseconds()), pragma("query_only", 1), pragma("cache_size", -readerCacheKiB)))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers / 2)
	return db, nil
}

// connect opens the connections of a catalog whose schema is right.
func (c *Catalog) connect(ctx context.Context) error {
	db, err := openReads(c.path)
	if err != nil {
		return err
	}
	c.reads = newReads(db, c.attendance)
	if err := db.PingContext(ctx); err != nil || c.readOnly {
		return err
	}
	if db, err = openWriter(c.path, busyTimeout); err != nil {
		return err
	}
	c.writer = newWriter(db)
	return nil
}

// code gives the primary and the extended SQLite result code; 0 for any other error.
func code(err error) (primary, extended int) {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return 0, 0
	}
	return failure.Code() & 0xff, failure.Code()
}

func isBusy(err error) bool {
	primary, _ := code(err)
	return primary == sqlite3.SQLITE_BUSY || primary == sqlite3.SQLITE_LOCKED
}

// isDuplicate reports whether a row was refused since its key is taken.
func isDuplicate(err error) bool {
	_, extended := code(err)
	return extended == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || extended == sqlite3.SQLITE_CONSTRAINT_UNIQUE
}

// isDangling reports whether a row was refused since what it refers to is not there.
func isDangling(err error) bool {
	_, extended := code(err)
	return extended == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

const (
	safeCommitted = "what was recorded before stands, and every volume tells its own content"
	nextRebuild   = "move the file away and read the volumes again: capstan catalog rebuild VOLUME"
)

// explain says what a failure of SQLite means to people.
func (c *Catalog) explain(op string, err error) error {
	told := &capstan.Error{Op: "catalog: " + op, Object: c.path, Err: err}
	switch primary, extended := code(err); {
	case primary == sqlite3.SQLITE_FULL, extended == sqlite3.SQLITE_IOERR_SHMSIZE:
		told.Class = capstan.ErrNoSpace
		told.Safe, told.Next = safeCommitted, "make room on the filesystem of the catalog"
	case primary == sqlite3.SQLITE_CORRUPT, primary == sqlite3.SQLITE_NOTADB:
		told.Class = capstan.ErrDamaged
		// SQLite says the same where a single call to the system failed.
		told.Safe, told.Next = "every volume tells its own content", "see whether it is so: capstan catalog check; if it is, "+nextRebuild
	case primary == sqlite3.SQLITE_READONLY && c.writable():
		// Where opening a file fails, SQLite opens it for reading only and does not say why.
		told.Safe, told.Next = safeCommitted, "look at the disk and the system's log; the file can be written now"
	case primary == sqlite3.SQLITE_READONLY, primary == sqlite3.SQLITE_PERM:
		told.Class = capstan.ErrRefused
		told.Safe, told.Next = "nothing was written", "make the file and its directory writable for this user"
	case primary == sqlite3.SQLITE_IOERR:
		told.Safe, told.Next = safeCommitted, "look at the disk and the system's log"
	case primary == sqlite3.SQLITE_CANTOPEN:
		told.Next = "see that the directory is there and writable for this user"
	}
	return told
}

// writable reports whether this user may write the file, and others beside it. The
// file is not opened for that: closing it would take away the locks that SQLite has
// on it (fcntl(2): they belong to the process, and go with any of its descriptors).
func (c *Catalog) writable() bool {
	if !mayWrite(c.path) {
		return false
	}
	beside, err := os.CreateTemp(filepath.Dir(c.path), ".writable-")
	if err != nil {
		return false
	}
	return errors.Join(beside.Close(), os.Remove(beside.Name())) == nil
}

func (c *Catalog) refuseWrite() error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "write to catalog", Object: c.path,
		Err: errors.New("it was opened for reading only"), Safe: "nothing was written",
	}
}
