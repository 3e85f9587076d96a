package postgres_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan"
)

// A database with many kinds of objects comes back as it was: what the stock pg_dump
// says of the source and of what the stock pg_restore made of our dump is the same,
// byte for byte, whatever the compression and however many jobs.
func TestRestoredDatabaseIsTheSame(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, major int) {
		f := newField(t, major)
		f.fill("app")
		want := f.plain("app")
		codecs := []capstan.Codec{"", capstan.CodecGzip, capstan.CodecNone}
		for i, codec := range codecs {
			o := f.options()
			o.Codec, o.Jobs = codec, 1+2*i
			dir, summary := f.dump(o)
			for _, jobs := range []int{1, 4} {
				database := fmt.Sprintf("copy_%d_%d", i, jobs)
				f.restore(dir, database, jobs)
				same(t, database, strings.ReplaceAll(f.plain(database), database, "app"), want)
			}
			if summary.Receipt.Large.Count != 3 || summary.Receipt.Large.Bytes != 150005 {
				t.Errorf("large objects: %+v", summary.Receipt.Large)
			}
			if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 1 {
				t.Errorf("beside the dump lie %v, %v", entries, err)
			}
		}
		if n := f.sessions(); n != "0" {
			t.Errorf("%s sessions are left", n)
		}
	})
}
