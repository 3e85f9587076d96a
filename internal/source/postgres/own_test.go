package postgres

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"capstan"
	"capstan/internal/pgcopy"
	"capstan/internal/pgproxy"
	"capstan/internal/progress"
)

// Small tables are grouped where they are many, in their order; large ones, and those
// that are to be alone, are not.
func TestLayers(t *testing.T) {
	t.Parallel()
	var stack []*table
	for i := range 3 * finestLayers {
		stack = append(stack, &table{quoted: fmt.Sprint(i), bytes: 8 << 10})
	}
	stack[10].bytes, stack[20].bytes = 2*layerBytes, 2*layerBytes
	alone := func(t *table) bool { return t == stack[40] }
	groups := layers(stack, alone)
	if !slices.Equal(slices.Concat(groups...), stack) {
		t.Error("the order is another")
	}
	for _, group := range groups {
		bytes := int64(0)
		for _, one := range group {
			bytes += one.bytes
		}
		if len(group) > 3 || len(group) > 1 && (bytes > layerBytes || slices.Contains(group, stack[40])) {
			t.Errorf("%d tables of %d bytes together, from %s on", len(group), bytes, group[0].quoted)
		}
	}
	if len(groups) > len(stack)/2 {
		t.Errorf("%d groups", len(groups))
	}
	for _, group := range layers(stack[:finestLayers], alone) {
		if len(group) != 1 {
			t.Errorf("few tables, and %d are together", len(group))
		}
	}
}

// What was read by a statement that pg_dump then does not use is dropped, and the table
// is left to the guard; what pg_dump does not read at all is in no file.
func TestWrongGuess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := &dump{env: Env{Tracker: progress.New(nil)}, options: Options{Codec: capstan.CodecNone}, directory: &Directory{part: dir}, receipt: newLedger()}
	if err := os.MkdirAll(filepath.Join(dir, bodyName), 0o700); err != nil {
		t.Fatal(err)
	}
	read := func(sql string, number int) []*datum {
		return []*datum{{Copy: pgproxy.Copy{SQL: sql}, file: fmt.Sprintf("%d.dat", number), tag: sql}}
	}
	right := &table{quoted: "right", guess: "COPY a", copies: read("COPY a", 1)}
	other := &table{quoted: "other", guess: "COPY b", copies: read("COPY (SELECT b)", 2)}
	without := &table{quoted: "without", guess: "COPY c"}
	unread := &table{quoted: "unread", guess: "COPY d", copies: read("COPY d", 4)}
	w := &worker{stack: []*layer{{tables: []*table{right, other}}, {tables: []*table{without}}}}
	for _, one := range []*table{right, other, without} {
		w.drafts.all = append(w.drafts.all, &draft{table: one, content: []byte(one.guess), result: pgcopy.Result{Rows: 1}})
	}
	h := &held{tables: []*table{right, other, without, unread}, workers: []*worker{w}, shares: map[*table]*share{}, known: make(chan struct{})}
	if err := d.divide(h); err != nil {
		t.Fatal(err)
	}
	if !h.isKnown() || !slices.Equal(h.left, []*table{other, unread}) {
		t.Errorf("left to the guard: %+v", h.left)
	}
	if err := d.settle(t.Context(), d.env.Tracker.Stage("reader"), h, w); err != nil {
		t.Fatal(err)
	}
	d.unsynced.rest(d.finishing)
	if err := errors.Join(d.finishing.Wait()); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Join(dir, bodyName))
	if err != nil || len(files) != 1 || files[0].Name() != "1.dat" || len(d.receipt.wrote) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	if got := len(readings(w.stack[0], true)); got != 1 {
		t.Errorf("%d tables of a layer are read when all is known", got)
	}
}
