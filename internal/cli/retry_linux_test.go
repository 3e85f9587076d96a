package cli_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
)

// TestRetryKilledBeforeTheVerdict leaves the catalog as a retry does that is
// killed when the volumes have all of the set and the set does not yet say so: the
// next retry gives the verdict, and tells that the other is dead.
func TestRetryKilledBeforeTheVerdict(t *testing.T) {
	t.Parallel()
	f := newField(t)
	garden(t, f.data, 7)
	f.run("backup", f.data, "--to", f.vol, "--to", filepath.Join(f.dir, "second"))
	set := f.onlySet()
	f.inCatalog(func(ctx context.Context, c *catalog.Catalog) error {
		stored, err := c.Set(ctx, capstan.SetID(set.Set))
		if err != nil {
			return err
		}
		if _, err := c.BeginRun(ctx, stored.ID, stored.Job, "retry", time.Now()); err != nil {
			return err
		}
		return c.SetStatus(ctx, stored.ID, capstan.RunPartial, stored.Counts)
	})
	args := []string{"retry", "2"}
	f.check(f.try(args...), 0, args, "lacks nothing")
	if set = f.onlySet(); set.Status != "complete" {
		t.Errorf("the set is %s, want complete", set.Status)
	}
	f.inCatalog(func(ctx context.Context, c *catalog.Catalog) error {
		runs, err := c.Runs(ctx, catalog.RunFilter{Running: true})
		if len(runs) > 0 {
			t.Errorf("%d runs say that they run", len(runs))
		}
		return err
	})
}

// inCatalog does something in the catalog of the field's home.
func (f *field) inCatalog(do func(context.Context, *catalog.Catalog) error) {
	f.t.Helper()
	c, err := catalog.Open(f.t.Context(), filepath.Join(f.dir, "home", "catalog.db"), catalog.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	if err := do(f.t.Context(), c); err != nil {
		f.t.Error(err)
	}
	if err := c.Close(); err != nil {
		f.t.Error(err)
	}
}
