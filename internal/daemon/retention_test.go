package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/pipeline"
	"capstan/internal/policy"
)

// TestRetentionRaisesNoDoubt: a set that the catalog forgot, or has no more, is
// right to be gone from the volume; one that it still counts on is not. The catalog
// still knows where a deleted set was when a set that builds on it is wanted.
func TestRetentionRaisesNoDoubt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	var said told
	d, err := Open(ctx, Options{Home: filepath.Join(dir, "home"), Say: said.say})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	location := ""
	var sets []capstan.SetID
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(data, fmt.Sprint(i)), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		volumes, err := d.Volumes(ctx, []string{filepath.Join(dir, "vol")})
		if err != nil {
			t.Fatal(err)
		}
		location = volumes[0].Info.Location
		sources, err := d.Sources([]string{data}, []string{location}, SourceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		summary, err := d.Engine.Backup(ctx, pipeline.Backup{
			Job: "job", Sources: sources, Volumes: volumes, Codec: capstan.CodecZstd, Level: 1, ArchiveSize: capstan.GiB,
			Mode: []pipeline.Mode{pipeline.Full, pipeline.Full, pipeline.Incremental}[i],
		})
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, summary.Set)
	}
	verify := func(set capstan.SetID) (problems string) {
		t.Helper()
		summary, err := d.Engine.Verify(ctx, pipeline.Verify{Sets: []capstan.SetID{set}})
		if err != nil && summary.Failed == 0 {
			t.Fatal(err)
		}
		return fmt.Sprint(summary.Problems)
	}
	if err := os.RemoveAll(filepath.Join(location, string(sets[0]))); err != nil {
		t.Fatal(err)
	}
	if got := verify(sets[1]); !strings.Contains(got, string(sets[0])+", which stood before it, is gone") {
		t.Errorf("a set that the catalog counts on is gone: %s", got)
	}
	forget := func(all []policy.Set) policy.Plan { return policy.Choose(all, sets[:1]) }
	if _, err := d.Catalog.Forget(ctx, "job", "", forget); err != nil {
		t.Fatal(err)
	}
	if got := verify(sets[1]); got != "[]" {
		t.Errorf("after it was forgotten: %s", got)
	}
	for _, set := range sets[:2] {
		if err := d.Catalog.DeleteSet(context.WithoutCancel(ctx), set); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(location, string(sets[1]))); err != nil {
		t.Fatal(err)
	}
	got := verify(sets[2])
	if strings.Contains(got, "is gone") || !strings.Contains(got, "builds on set "+string(sets[1])) || !strings.Contains(got, "it was on "+location) {
		t.Errorf("after its base was deleted: %s", got)
	}
}
