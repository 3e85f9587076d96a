package postgres

import (
	"testing"

	"capstan/internal/pgtoc"
	"capstan/internal/progress"
)

// What several processes write at once is understood as far as it can be, and nothing
// is missing from the count in the end.
func TestGarbledLines(t *testing.T) {
	t.Parallel()
	tracker := progress.New(nil)
	entry := func(id int32, name string) *pgtoc.Entry {
		return &pgtoc.Entry{DumpID: id, Desc: pgtoc.Some("TABLE DATA"), Namespace: pgtoc.Some("public"), Tag: pgtoc.Some(name)}
	}
	var s Summary
	l := &listener{
		pulse: &pulse{stage: tracker.Stage("restore")}, tracker: tracker, toc: map[int32]*pgtoc.Entry{1: entry(1, "a"), 2: entry(2, "b"), 3: entry(3, "c")},
		sizes: map[int32]int64{1: 10, 2: 20, 3: 30}, byTable: map[string]int32{"public.a": 1}, summary: &s,
	}
	for _, text := range []string{
		"pg_restore: pg_restore: finished item 1 TABLE DATA a\nfinished", " item 2 TABLE DATA b\n",
		"pg_restore: from TOC entry 3; 0 16386 TABLE DATA c postgres\npg_restore: launching pg_restore: error: could not execute query: ERROR:  no\nDETAIL:  why\nCommand was: COPY c\n  FROM stdin\n",
		"pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"\nCommand was: SET\n",
		"pg_restore: warning: errors ignored on restore: 3\n",
	} {
		if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
	}
	l.conclude(false)
	if len(s.Problems) != 1 || s.Problems[0] != (Problem{"TABLE DATA public c", "ERROR:  no; DETAIL:  why; Command was: COPY c"}) || s.Unnamed != 1 || s.Tables != 1 || s.Bytes != 10 {
		t.Errorf("%+v", s)
	}
	l.conclude(true)
	if s.Tables != 3 || s.Bytes != 60 || s.Unnamed != 1 {
		t.Errorf("%+v", s)
	}
}
