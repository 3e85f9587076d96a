package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/slowfs"
)

// TestSilentCatalog has the disk of the home answer no more while the last file of a set
// is given its name: what is left of the run is recorded in the catalog alone. The run
// says so and ends, by itself or when it is told to, while the disk still does not answer;
// the next call has the set complete.
func TestSilentCatalog(t *testing.T) {
	t.Parallel()
	log := slowfs.Rule{Ops: []slowfs.Op{slowfs.Write, slowfs.Sync}, Name: "catalog.db-wal", Hold: true}
	// Not the index of the log, which SQLite maps: a page of it that does not come stops
	// the whole process, as soon as the Go runtime wants to stop it for a moment.
	pages := slowfs.Rule{Op: slowfs.Read, Name: "catalog.d*[bl]", Hold: true}
	for name, test := range map[string]struct {
		rule      slowfs.Rule
		interrupt bool
		code      int
		words     []string
	}{
		"log":              {log, false, 1, []string{"waiting for catalog", "its filesystem does not answer", "look at the disk that it is on"}},
		"log, interrupted": {log, true, 130, []string{"interrupted by a signal"}},
		"pages":            {pages, false, 1, []string{"waiting for catalog"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newSmall(t, false)
			last := c.mounts["one"].Add(slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS.sig", Hold: true})
			args := c.args
			if !test.interrupt {
				args = stalling(args...)
			}
			p := c.start(args...)
			if _, ok := p.hits(last); !ok {
				t.Fatal(p.end().err)
			}
			for _, file := range []string{"catalog.db", "catalog.db-wal"} { // whose pages the kernel forgets when they are opened
				opened, err := os.Open(filepath.Join(c.mounts["home"].Dir, file))
				if err != nil {
					t.Fatal(err)
				}
				_ = opened.Close()
			}
			hold := c.mounts["home"].Add(test.rule)
			last.End()
			if test.interrupt {
				if _, ok := p.hits(hold); !ok {
					t.Fatal(p.end().err)
				}
				p.signal(unix.SIGINT)
			}
			c.outlasts(p, hold, test.interrupt)
			c.check(p.end(), test.code, args, test.words...)
			c.complete()
		})
	}
}
