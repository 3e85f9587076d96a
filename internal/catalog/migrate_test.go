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
