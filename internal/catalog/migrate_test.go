package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"capstan"
)

// withSteps gives the embedded migrations and others after them.
func withSteps(t *testing.T, more ...string) migrations {
	t.Helper()
	real := sqliteMigrations()
	all := fstest.MapFS{}
	names, err := fs.Glob(real.steps, "*.sql")
	if err != nil || int64(len(names)) != real.last {
		t.Fatalf("%d steps are embedded, the schema is %d: %v", len(names), real.last, err)
	}
	for _, name := range names {
		data, err := fs.ReadFile(real.steps, name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = &fstest.MapFile{Data: data}
	}
	for i, text := range more {
		all[fmt.Sprintf("%05d_more.sql", int(real.last)+1+i)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + text)}
	}
	return migrations{steps: all, last: real.last + int64(len(more))}
}

func TestMigration(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "catalog.db")
	c, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureJob(ctx, "job", "kept", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open(ctx, path, Options{ReadOnly: true}, withSteps(t, "CREATE TABLE new (a INTEGER);")); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("an older schema opened for reading only: %v", err)
	}
	// A step that fails in its middle leaves the step before it, whole.
	_, err = open(ctx, path, Options{}, withSteps(t, "CREATE TABLE new (a INTEGER);", "CREATE TABLE newer (a INTEGER); INSERT INTO nowhere VALUES (1);"))
	if err == nil {
		t.Fatal("a step that fails is no error")
	}
	c, err = open(ctx, path, Options{}, withSteps(t, "CREATE TABLE new (a INTEGER);", "CREATE TABLE newer (a INTEGER);"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if jobs, err := c.Jobs(ctx); err != nil || len(jobs) != 1 || jobs[0].Name != "kept" {
		t.Errorf("jobs after the migration %+v %v", jobs, err)
	}
	first := int(sqliteMigrations().last)
	for _, version := range []int{first, first + 1} {
		copied := fmt.Sprintf("%s.schema-%d", path, version)
		info, err := os.Stat(copied)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("copy of schema %d: %v %v", version, info, err)
		}
	}
	// The copy of the first schema is a catalog of the first schema.
	old, err := Open(ctx, fmt.Sprintf("%s.schema-%d", path, first), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if jobs, err := old.Jobs(ctx); err != nil || len(jobs) != 1 {
		t.Errorf("jobs of the copy %+v %v", jobs, err)
	}
}

// TestSetsOfTheFirstSchema: sets of a catalog that was made before consolidation are what
// they were.
func TestSetsOfTheFirstSchema(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "catalog.db")
	real := sqliteMigrations()
	text, err := fs.ReadFile(real.steps, "00001_start.sql")
	if err != nil {
		t.Fatal(err)
	}
	c, err := open(ctx, path, Options{}, migrations{steps: fstest.MapFS{"00001_start.sql": {Data: text}}, last: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := openWriter(path, openTimeout)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`INSERT INTO jobs (id, name, sources, volumes, changed) VALUES ('job', 'kept', '[]', '[]', 0)`,
		`INSERT INTO sets (no, id, month, number, job, base, claim, status, phase, host, codec, recipients, sources, started, finished, forgotten,
			entries, stored, changed, unchanged, excluded, vanished, failed, deleted, bytes_in, bytes_out)
			VALUES (1, '2026-11_000001', '2026-11', 1, 'job', '', 'word', 'complete', 0, 'host', 'zstd', '[]', '[]', 5, 6, 0, 1, 1, 0, 0, 0, 0, 0, 0, 7, 8)`,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err = Open(ctx, path, Options{}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	set, err := c.Latest(ctx, "job")
	if err != nil || set.ID != "2026-11_000001" || set.Consolidates != "" || set.Claim != "word" || set.Counts.BytesOut != 8 {
		t.Errorf("after the migration: %+v %v", set, err)
	}
	if left, err := c.Forgotten(ctx, ""); err != nil || len(left) != 0 {
		t.Errorf("to be removed: %+v %v", left, err)
	}
}
