package pgproxy

import (
	"reflect"
	"slices"
	"testing"
)

func TestParseCopy(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]Copy{
		"COPY public.a (x, y) TO stdout;":                                    {Table: "public.a", Columns: "x, y"},
		"COPY public.empty0  TO stdout;":                                     {Table: "public.empty0"},
		`COPY "A b".",""(" ("c d") TO stdout;`:                               {Table: `"A b".",""("`, Columns: `"c d"`},
		`COPY s."FROM" ("a FROM b", "x, y", z) TO stdout;`:                   {Table: `s."FROM"`, Columns: `"a FROM b", "x, y", z`},
		"COPY (SELECT a, b FROM ext.config WHERE a > 1) TO stdout;":          {Table: "ext.config", Columns: "a, b", Query: true},
		`COPY (SELECT "x FROM y" FROM ONLY s."t)" WHERE a = ')') TO stdout;`: {Table: `s."t)"`, Columns: `"x FROM y"`, Query: true},
		"COPY (SELECT * FROM public.foreign ) TO stdout;":                    {Table: "public.foreign", Columns: "*", Query: true},
		"COPY a1._b2 (c_3) TO stdout;":                                       {Table: "a1._b2", Columns: "c_3"},
	} {
		want.SQL = sql[:len(sql)-1]
		if got, err := parseCopy(sql); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", sql, got, err, want)
		}
	}
	for _, sql := range []string{
		"COPY public.a (x) TO stdout", "COPY public.a FROM stdin;", "COPY public.a (x, TO stdout;", "COPY public.a x) TO stdout;", `COPY public."a (x) TO stdout;`,
		"COPY  TO stdout;", "COPY (SELECT a, FROM b) TO stdout;", "COPY (SELECT a b) TO stdout;", "COPY (SELECT a FROM b TO stdout;", "COPY a.b (x) WITH y TO stdout;",
	} {
		if got, err := parseCopy(sql); err == nil {
			t.Errorf("%s: %+v, want an error", sql, got)
		}
	}
}

func TestParseLock(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string][]string{
		"LOCK TABLE public.a IN ACCESS SHARE MODE":                        {"public.a"},
		`LOCK TABLE public.a, "b, c"."d "" IN", e.f IN ACCESS SHARE MODE`: {"public.a", `"b, c"."d "" IN"`, "e.f"},
		"LOCK TABLE ONLY public.a, ONLY public.b IN ACCESS SHARE MODE":    {"public.a", "public.b"},
		"LOCK TABLE public.a IN ACCESS SHARE MODE;":                       {"public.a"},
	} {
		if got, err := parseLock(sql); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", sql, got, err)
		}
	}
	for _, sql := range []string{"LOCK TABLE public.a", "LOCK TABLE  IN ACCESS SHARE MODE", "LOCK TABLE public.a, IN ACCESS SHARE MODE", "LOCK TABLE public.a b IN ACCESS SHARE MODE"} {
		if got, err := parseLock(sql); err == nil {
			t.Errorf("%s: %q, want an error", sql, got)
		}
	}
}

func TestMarker(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 7, 123456} {
		if got, ok := ReadMarker(append(marker(n), "\\.\n\n\n"...)); !ok || got != n {
			t.Errorf("%d became %d, %v", n, got, ok)
		}
	}
	for _, content := range []string{"", "capstan data ", "capstan data -1\n", "capstan data x\n", "1\n"} {
		if got, ok := ReadMarker([]byte(content)); ok {
			t.Errorf("%q is marker %d", content, got)
		}
	}
}

// FuzzStatements: no panic, and what is taken apart is a part of the statement.
func FuzzStatements(f *testing.F) {
	f.Add("COPY (SELECT a, \"b\" FROM s.t WHERE x) TO stdout;")
	f.Add("COPY s.t (a, b) TO stdout;")
	f.Add("LOCK TABLE a.b, \"c\" IN ACCESS SHARE MODE")
	f.Fuzz(func(t *testing.T, sql string) {
		if c, err := parseCopy(sql); err == nil {
			again := "COPY " + c.Table + " (" + c.Columns + ") TO stdout;"
			if c.Columns == "" {
				again = "COPY " + c.Table + "  TO stdout;"
			}
			if c.Query || c.Columns == "*" {
				return
			}
			if second, err := parseCopy(again); err != nil || second.Table != c.Table || second.Columns != c.Columns {
				t.Errorf("%q: %+v, then %+v, %v", sql, c, second, err)
			}
		}
		if names, err := parseLock(sql); err == nil && (len(names) == 0 || reflect.DeepEqual(names, []string{""})) {
			t.Errorf("%q locks nothing", sql)
		}
	})
}

// What reads a table is known from what restores it.
func TestReading(t *testing.T) {
	t.Parallel()
	for restoring, want := range map[string]Copy{
		"COPY public.t (a, \"b c\") FROM stdin;\n":         {SQL: "COPY public.t (a, \"b c\") TO stdout", Table: "public.t", Columns: "a, \"b c\""},
		"COPY public.\"the root (of\" (a) FROM stdin;\n":   {SQL: "COPY public.t (a) TO stdout", Table: "public.t", Columns: "a"},
		"COPY public.t  FROM stdin;\n":                     {SQL: "COPY public.t  TO stdout", Table: "public.t"},
		"COPY public.t (\" FROM stdin;\n\") FROM stdin;\n": {SQL: "COPY public.t (\" FROM stdin;\n\") TO stdout", Table: "public.t", Columns: "\" FROM stdin;\n\""},
	} {
		if got, ok := Reading("public.t", restoring); !ok || got != want {
			t.Errorf("%q: %+v, %v", restoring, got, ok)
		}
	}
	for _, restoring := range []string{
		"", "COPY public.t (a) FROM stdin;", "COPY public.t FROM stdin;\n", "COPY public.t (a) FROM stdin WITH x;\n", "COPY public.t (a FROM stdin;\n",
		"COPY public.t a) FROM stdin;\n", "COPY public.t (a) b FROM stdin;\n", "COPY (SELECT a FROM public.t) FROM stdin;\n", "INSERT INTO public.t (a) FROM stdin;\n",
	} {
		if got, ok := Reading("public.t", restoring); ok {
			t.Errorf("%q: %+v", restoring, got)
		}
	}
}
