package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	sqlite3 "modernc.org/sqlite/lib"

	"capstan"
)

// quickCheckPages bounds the file whose every page is looked at when it is
// opened: 8 MiB, since a look at a MiB takes some 5 ms and every command opens
// the catalog. Of a larger one all tables are looked at but those that grow with
// the entries.
const quickCheckPages = 2 << 10

// smallTables are those that do not grow with the number of entries.
func smallTables() []string {
	return []string{"jobs", "volumes", "places", "stages", "counters", "sets", "pins", "drills", "demands", "runs", "archives", "copies", "origins", "sums", "audit"}
}

// quickCheck looks for damage in a file that is about to be used.
func quickCheck(ctx context.Context, db *sql.DB) error {
	var pages int64
	if err := db.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
		return err
	}
	if pages <= quickCheckPages {
		return checkPragma(ctx, db, "PRAGMA quick_check(1)")
	}
	for _, table := range smallTables() {
		if err := checkPragma(ctx, db, "PRAGMA quick_check("+table+")"); err != nil {
			return err
		}
	}
	return nil
}

// checkPragma runs one of SQLite's checks, which answers "ok" or one row for
// each problem.
func checkPragma(ctx context.Context, db *sql.DB, check string) error {
	problems, err := pragmaProblems(ctx, db, check)
	if err != nil || len(problems) == 0 {
		return err
	}
	if unread(problems[0]) {
		return fmt.Errorf("it could not be read (%s)", problems[0])
	}
	return errDamage(problems[0])
}

// unread reports whether a problem is that a page could not be read: a failure of
// the system (SQLITE_IOERR with its many extended codes), of which SQLite's checks
// tell in the same words as of a page that is wrong.
func unread(problem string) bool {
	_, number, found := strings.Cut(problem, "unable to get the page. error code=")
	if !found {
		return false
	}
	number = strings.TrimSpace(number)
	if end := strings.IndexFunc(number, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		number = number[:end]
	}
	extended, err := strconv.Atoi(number)
	return err == nil && extended&0xff == sqlite3.SQLITE_IOERR
}

func pragmaProblems(ctx context.Context, db *sql.DB, check string) (problems []string, err error) {
	rows, err := db.QueryContext(ctx, check)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		if line != "ok" {
			problems = append(problems, line)
		}
	}
	return problems, rows.Err()
}

// errDamage is the damage that SQLite's checks found, in their words.
type errDamage string

func (e errDamage) Error() string { return string(e) }

func (c *Catalog) damaged(err error) error {
	return &capstan.Error{
		Class: capstan.ErrDamaged, Op: "open catalog", Object: c.path, Err: err,
		Safe: "the file was not touched, and every volume tells its own content", Next: nextRebuild,
	}
}

// sqliteProblems runs the full check of the file, its keys included.
func (c *Catalog) sqliteProblems(ctx context.Context) ([]string, error) {
	var problems []string
	err := each(ctx, c.reads, "PRAGMA integrity_check(50)", nil, func(rows *sql.Rows) error {
		var line string
		err := rows.Scan(&line)
		if err == nil && line != "ok" {
			problems = append(problems, line)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = each(ctx, c.reads, "PRAGMA foreign_key_check", nil, func(rows *sql.Rows) error {
		var table, parent string
		var row, key any
		if err := rows.Scan(&table, &row, &parent, &key); err != nil {
			return err
		}
		problems = append(problems, fmt.Sprintf("a row of %s refers to a row of %s that is not there", table, parent))
		return nil
	})
	return problems, err
}
