package pgdump

import (
	"errors"
	"slices"
	"testing"

	"capstan"
)

func TestColumns(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string][]string{
		"COPY public.t (a, b) FROM stdin;\n":                                                {"a", "b"},
		"COPY public.t (a) FROM stdin;\n":                                                   {"a"},
		"COPY public.empty0  FROM stdin;\n":                                                 {},
		"COPY \"S, (\".\"o\"\"dd\" (\"a b\", c, \"\"\"\", \") FROM stdin;\") FROM stdin;\n": {"a b", "c", `"`, ") FROM stdin;"},
		"COPY täg.töp (ü) FROM stdin;\n":                                                    {"ü"},
	} {
		if got, err := columns(statement); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", statement, got, err, want)
		}
	}
	for _, statement := range []string{"", "COPY ", "COPY a.b", "COPY a.b (", "COPY a.b (c", "COPY a.b (c, ) FROM stdin;", "COPY a.b (\"c) FROM stdin;", "COPY a.b (c) TO stdout;", "COPY a. (c) FROM stdin;", "SELECT 1"} {
		if got, err := columns(statement); !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%q: %q, %v", statement, got, err)
		}
	}
}

func FuzzColumns(f *testing.F) {
	f.Add("COPY public.t (a, \"b\"\"c\") FROM stdin;\n")
	f.Fuzz(func(t *testing.T, statement string) {
		names, err := columns(statement)
		if err != nil && !errors.Is(err, capstan.ErrDamaged) {
			t.Fatal(err)
		}
		length := 0
		for _, name := range names {
			length += len(name)
		}
		if length > len(statement) {
			t.Fatalf("%q is longer than %q", names, statement)
		}
	})
}
