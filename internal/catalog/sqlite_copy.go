package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// copyBefore puts a copy of the file next to it, named after its schema version,
// before that schema is changed.
func (c *Catalog) copyBefore(ctx context.Context, db *sql.DB, version int64) error {
	return c.copyInto(ctx, db, fmt.Sprintf("%s.schema-%d", c.path, version), func(string) error { return nil })
}

// CopyTo writes a consistent copy of the catalog to a new file at path, replacing
// one that is there; with entries or without them. The copy is durable when
// CopyTo returns nil, and needs no second file beside it. Without entries it is
// small and quickly made; with them all that is read holds back no writer, but
// takes as long as reading the whole file. Only one process may write a path.
func (c *Catalog) CopyTo(ctx context.Context, path string, entries bool) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if entries {
		err = c.copyAll(ctx, path)
	} else {
		err = c.copyRecords(ctx, path)
	}
	return c.failed(ctx, "copy", err)
}

// copyAll uses a connection of its own: those of the pool may not even write
// another file.
func (c *Catalog) copyAll(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", dataSource(c.path, url.Values{"mode": {"ro"}}, pragma("busy_timeout", openTimeout.Milliseconds())))
	if err != nil {
		return err
	}
	return errors.Join(c.copyInto(ctx, db, path, plainFile(ctx)), db.Close())
}

// copyInto copies all, through a temporary name.
func (c *Catalog) copyInto(ctx context.Context, db *sql.DB, path string, finish func(part string) error) error {
	return c.viaPart(path, func(part string) error {
		if _, err := db.ExecContext(ctx, "VACUUM INTO ?", part); err != nil {
			return err
		}
		return finish(part)
	})
}

// viaPart lets fill write to an empty file of mode 0600, then makes it durable under
// its name.
func (c *Catalog) viaPart(path string, fill func(part string) error) (err error) {
	part := path + ".part"
	if err := removeDatabase(part); err != nil {
		return err
	}
	file, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeDatabase(part))
		}
	}()
	if err := fill(part); err != nil {
		return err
	}
	if err := syncFile(part); err != nil {
		return err
	}
	if err := c.fs.Rename(part, path); err != nil {
		return err
	}
	return c.fs.SyncDir(filepath.Dir(path))
}

// removeDatabase removes a database that nobody has open, with what SQLite may
// have put beside it.
func removeDatabase(path string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// plainFile takes the write-ahead log off a copy, so that it can be read on a
// medium that cannot be written.
func plainFile(ctx context.Context) func(string) error {
	return func(part string) error {
		db, err := openWriter(part, openTimeout)
		if err != nil {
			return err
		}
		var mode string
		err = db.QueryRowContext(ctx, "PRAGMA journal_mode = delete").Scan(&mode)
		return errors.Join(err, db.Close())
	}
}

// copyRecords copies every table but those that hold entries.
func (c *Catalog) copyRecords(ctx context.Context, path string) error {
	return c.viaPart(path, func(part string) error {
		db, err := openWriter(part, openTimeout)
		if err != nil {
			return err
		}
		if err := c.migrate(ctx, db, sqliteMigrations(), 0); err != nil {
			return errors.Join(err, db.Close())
		}
		return c.fillRecords(ctx, db)
	})
}

// fillRecords takes the rows over in one transaction, which sees one state of
// the catalog. It closes db.
func (c *Catalog) fillRecords(ctx context.Context, db *sql.DB) (err error) {
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx) // ATTACH belongs to a connection
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	source := dataSource(c.path, url.Values{"mode": {"ro"}})
	if _, err := conn.ExecContext(ctx, "ATTACH DATABASE ? AS source", source); err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, table := range smallTables() {
		if _, err := tx.ExecContext(ctx, "INSERT INTO main."+table+" SELECT * FROM source."+table); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	// The copy holds no entries, so its archives have none that a check could miss.
	if _, err := tx.ExecContext(ctx, "UPDATE main.archives SET held = 0"); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "DETACH DATABASE source")
	return err
}
