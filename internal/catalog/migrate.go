package catalog

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"

	"capstan"
)

//go:embed migrations/sqlite/*.sql
var sqliteSteps embed.FS

// migrations are the steps from an empty file to this release's schema.
type migrations struct {
	steps fs.FS
	last  int64 // version after the last step
}

func sqliteMigrations() migrations {
	steps, err := fs.Sub(sqliteSteps, "migrations/sqlite")
	if err != nil {
		steps = sqliteSteps // not reached: the name is valid
	}
	return migrations{steps: steps, last: schemaVersion}
}

// schemaVersion is that of the last file in migrations.
const schemaVersion = 3

// prepare brings the file to this release's schema, creating it if need be. One
// process at a time does so.
func (c *Catalog) prepare(ctx context.Context, steps migrations) (err error) {
	if err := c.fs.MkdirAll(c.locks); err != nil {
		return err
	}
	unlock, err := c.lockFile(ctx, "open")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := c.createFile(); err != nil {
		return err
	}
	db, err := openWriter(c.path, openTimeout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	version, err := c.inspect(ctx, db, steps)
	if err != nil {
		return err
	}
	if version < steps.last {
		if err := c.migrate(ctx, db, steps, version); err != nil {
			return err
		}
	}
	return writeAheadLog(ctx, db)
}

// createFile makes an empty file for its owner alone, if there is none: SQLite
// would make it readable for all.
func (c *Catalog) createFile() error {
	file, err := os.OpenFile(c.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), c.fs.SyncDir(filepath.Dir(c.path)))
}

// inspect refuses what is damaged, foreign or newer, and gives the version of
// the schema; 0 for an empty file.
func (c *Catalog) inspect(ctx context.Context, db *sql.DB, steps migrations) (int64, error) {
	if err := quickCheck(ctx, db); err != nil {
		if _, damaged := errors.AsType[errDamage](err); damaged {
			return 0, c.damaged(err)
		}
		return 0, err
	}
	var tables, versioned int64
	err := db.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(CASE WHEN name = 'goose_db_version' THEN 1 ELSE 0 END), 0)
		FROM sqlite_schema WHERE type = 'table'`).Scan(&tables, &versioned)
	if err != nil || tables == 0 {
		return 0, err
	}
	if versioned == 0 {
		return 0, &capstan.Error{
			Class: capstan.ErrRefused, Op: "open catalog", Object: c.path,
			Err: errors.New("it is a database of something else"), Safe: "it was not touched",
		}
	}
	var version int64
	if err := db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version").Scan(&version); err != nil {
		return 0, err
	}
	if version > steps.last {
		return 0, &capstan.Error{
			Class: capstan.ErrRefused, Op: "open catalog", Object: c.path,
			Err:  fmt.Errorf("a newer Capstan made it: its schema is %d, this release knows %d", version, steps.last),
			Safe: "it was not touched", Next: "use the newer release",
		}
	}
	return version, nil
}

// migrate runs the missing steps, each in one transaction, after a copy of what
// is there was put next to the file.
func (c *Catalog) migrate(ctx context.Context, db *sql.DB, steps migrations, from int64) error {
	if from > 0 {
		if err := c.copyBefore(ctx, db, from); err != nil {
			return fmt.Errorf("copy before migration: %w", err)
		}
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, steps.steps,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate schema %d to %d: %w", from, steps.last, err)
	}
	return nil
}

// writeAheadLog turns it on; the file remembers.
func writeAheadLog(ctx context.Context, db *sql.DB) error {
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil || mode == "wal" {
		return err
	}
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode = wal").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the filesystem allows no write-ahead log (journal mode %s)", mode)
	}
	return nil
}

// requireVersion checks a catalog that is opened for reading only.
func (c *Catalog) requireVersion(ctx context.Context, steps migrations) (err error) {
	if _, err := os.Stat(c.path); err != nil {
		return err
	}
	db, err := openReads(c.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	version, err := c.inspect(ctx, db, steps)
	if err != nil {
		return err
	}
	if version != steps.last {
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "open catalog", Object: c.path,
			Err:  fmt.Errorf("its schema is %d, this release reads %d", version, steps.last),
			Safe: "it was not touched", Next: "open it for writing once, so that it is migrated",
		}
	}
	return nil
}
