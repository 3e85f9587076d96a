package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"capstan/internal/pipeline"
)

// What an incremental set removes is the same, whether its entries are few, so that
// each is looked up in the sets before, or all, so that those are walked beside it.
func TestDeletionsOfFewAndOfAll(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	data := filepath.Join(k.dir, "data")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string) {
		t.Helper()
		must(os.MkdirAll(filepath.Dir(filepath.Join(data, name)), 0o700))
		must(os.WriteFile(filepath.Join(data, name), []byte(name), 0o600))
	}
	var all []string
	for i := range 3000 {
		all = append(all, fmt.Sprintf("d%02d/%04d", i%40, i))
		write(all[i])
	}
	for i := range 3 {
		write(fmt.Sprintf("d20-%d/gone", i))
		write(fmt.Sprintf("d20-%d/file to dir", i))
		write(fmt.Sprintf("d20-%d/dir to file/below", i))
		write(fmt.Sprintf("d20-%d/gone dir/below/deep", i))
	}
	k.store(pipeline.Full)
	for i, change := range []func(){
		func() {},
		func() {
			for _, name := range all {
				must(os.Chtimes(filepath.Join(data, name), time.Time{}, time.Unix(1e9, 0)))
			}
		},
		func() {},
	} {
		in := fmt.Sprintf("d20-%d/", i)
		for _, name := range []string{"gone", "file to dir", "dir to file", "gone dir"} {
			must(os.RemoveAll(filepath.Join(data, in+name)))
		}
		write(in + "dir to file")
		write(in + "file to dir/below")
		change()
		made := k.store(pipeline.Incremental)
		if few := made.Counts.Stored < 20; few == (i == 1) {
			t.Fatalf("round %d: %+v: this shows only one way", i, made.Counts)
		}
		list, err := os.ReadFile(filepath.Join(k.location, string(made.Set), "DELETED"))
		must(err)
		want := ""
		for _, name := range []string{"dir to file", "gone", "gone dir"} {
			want += "data/" + in + name + "\x00"
		}
		if string(list) != want {
			t.Errorf("round %d: %q, want %q", i, list, want)
		}
	}
}
