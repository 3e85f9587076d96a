package postgres

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pgcopy"
	"capstan/internal/pgproxy"
	"capstan/internal/progress"
)

func tables(sizes ...int64) []*table {
	var all []*table
	for i, size := range sizes {
		all = append(all, &table{quoted: fmt.Sprintf("public.t%d", i), schema: "public", name: fmt.Sprintf("t%d", i), bytes: size << 20})
	}
	return all
}

func always(*table) bool { return true }

// Each table is read once, and nobody has much more to do than the others; tables are
// shared only where that is needed for it.
func TestAssign(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		sizes  []int64
		jobs   int
		shared int
	}{
		{"none", nil, 2, 0},
		{"one job", []int64{1000, 1, 1}, 1, 0},
		{"balanced", []int64{100, 100, 100, 100}, 2, 0},
		{"one holds most", []int64{900, 50, 50}, 2, 1},
		{"three on two", []int64{100, 100, 100}, 2, 1},
		{"small ones are not worth it", []int64{10, 1}, 2, 0},
		{"one alone", []int64{500}, 4, 1},
	} {
		all := tables(test.sizes...)
		a := assign(all, test.jobs, always)
		if len(a.shared) != test.shared || len(a.private) != test.jobs {
			t.Errorf("%s: %d tables are shared by %d workers", test.name, len(a.shared), len(a.private))
		}
		seen := slices.Clone(a.shared)
		for _, private := range a.private {
			seen = append(seen, private...)
		}
		if len(seen) != len(all) || slices.ContainsFunc(all, func(t *table) bool { return !slices.Contains(seen, t) }) {
			t.Errorf("%s: %d tables of %d", test.name, len(seen), len(all))
		}
	}
	if a := assign(tables(900, 50, 50), 2, func(*table) bool { return false }); len(a.shared) != 0 {
		t.Error("a table is shared that cannot be")
	}
}

// What is asked for first lies on top, then the small ones; what is shared is last.
func TestStack(t *testing.T) {
	t.Parallel()
	all := tables(900, 300, 20, 10, 5)
	a := assign(all, 1, always)
	a.shared, a.private[0] = all[:1], slices.DeleteFunc(a.private[0], func(t *table) bool { return t == all[0] })
	var names []string
	for _, t := range a.stack(0, func(t *table) bool { return t.name == "t1" || t.name == "t3" }) {
		names = append(names, t.name)
	}
	if got := strings.Join(names, " "); got != "t0 t2 t4 t1 t3" {
		t.Errorf("from the bottom: %s", got)
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]bool{"t": true, "s.t": true, "x.t": false, "*": true, "s.*": true, "?": true, "tt": false, "T": false} {
		if got := matches([]string{pattern}, "s", "t"); got != want {
			t.Errorf("%s: %v", pattern, got)
		}
	}
}

// The parts of a table cover each page once, the last one whatever comes after.
func TestPartsCoverATable(t *testing.T) {
	t.Parallel()
	step := int64(partBytes / pageBytes)
	for _, pages := range []int64{0, 1, step, step + 1, 10*step - 1} {
		s := newShare(&table{quoted: "public.t", pages: pages}, &datum{Copy: pgproxy.Copy{SQL: "COPY public.t (a) TO stdout", Columns: "a"}})
		next := int64(0)
		for p, ok := s.take(); ok; p, ok = s.take() {
			sql := s.statement(p)
			if s.parts == 1 {
				if sql != s.datum.SQL {
					t.Errorf("%d pages: %s", pages, sql)
				}
				next = pages + step
				continue
			}
			want := fmt.Sprintf("ctid >= '(%d,0)'", next)
			next += step
			if !s.last(p) {
				want += fmt.Sprintf(" AND ctid < '(%d,0)'", next)
			}
			if sql != "COPY (SELECT a FROM ONLY public.t WHERE "+want+") TO stdout" {
				t.Errorf("%d pages: %s", pages, sql)
			}
		}
		if next < pages {
			t.Errorf("%d pages: only %d are read", pages, next)
		}
	}
	// What cannot be cut is read whole.
	if s := newShare(&table{pages: 1 << 20}, &datum{Copy: pgproxy.Copy{Query: true, Columns: "a"}}); s.parts != 1 {
		t.Errorf("a query is read in %d parts", s.parts)
	}
}

// However fast each worker is, the parts lie in the file in their order; what is too
// much for the memory lies aside meanwhile, and goes.
func TestPartsLieInOrder(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	for round := range 5 {
		dir := t.TempDir()
		d := &dump{
			env: Env{Tracker: progress.New(nil)}, options: Options{Codec: capstan.CodecNone}, finishing: &errgroup.Group{},
			directory: &Directory{part: dir},
		}
		if err := os.MkdirAll(filepath.Join(dir, bodyName), 0o700); err != nil {
			t.Fatal(err)
		}
		s := newShare(&table{pages: 8 * partBytes / pageBytes}, &datum{Copy: pgproxy.Copy{Columns: "a"}, file: "1.dat"})
		var err error
		if s.spool, err = d.create("1.dat", "t"); err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(seed, uint64(round)))
		frames := make([][][]byte, s.parts)
		var begun []*part
		want := sha256.New()
		for number := range frames {
			for range random.IntN(9) {
				frames[number] = append(frames[number], bytes.Repeat([]byte{byte(number)}, 1+random.IntN(1<<20)))
			}
			for _, frame := range frames[number] {
				want.Write(frame)
			}
			p, _ := s.take()
			begun = append(begun, p)
		}
		wholes := 0
		for len(begun) > 0 {
			i := random.IntN(len(begun))
			if p := begun[i]; len(frames[p.number]) > 0 {
				if err := s.write(p, frames[p.number][0]); err != nil {
					t.Fatal(err)
				}
				frames[p.number] = frames[p.number][1:]
				continue
			}
			whole, err := s.end(begun[i], pgcopy.Result{Rows: 1, Bytes: 2})
			if err != nil {
				t.Fatal(err)
			}
			if whole {
				wholes++
			}
			begun = slices.Delete(begun, i, i+1)
		}
		s.spool.finish()
		if err := d.finishing.Wait(); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(d.directory.path("1.dat"))
		if err != nil {
			t.Fatal(err)
		}
		got := sha256.Sum256(content)
		if !bytes.Equal(got[:], want.Sum(nil)) || wholes != 1 || s.read.Rows != 8 || s.read.Bytes != 16 {
			t.Fatalf("seed %d, round %d: another content; whole %d times, %d rows, %d bytes", seed, round, wholes, s.read.Rows, s.read.Bytes)
		}
		left, err := disk.FS{}.ReadDir(filepath.Join(dir, bodyName))
		if err != nil || len(left) != 1 {
			t.Fatalf("%v, %v", left, err)
		}
	}
}
