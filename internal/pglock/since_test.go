package pglock

import (
	"slices"
	"testing"
	"time"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	at := func(hour int, tables map[string]Mark) Past {
		return Past{Time: time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC), Tables: tables}
	}
	looks := []Past{
		at(3, map[string]Mark{"public.stage": {"1", "13"}, "public.kept": {"2", "20"}, "public.new": {"3", "30"}, "Odd.A b*": {"4", "41"}}),
		at(1, map[string]Mark{"public.stage": {"1", "11"}, "public.kept": {"2", "20"}, "public.gone": {"5", "50"}, "Odd.A b*": {"4", "40"}, "public.far": {}}),
		at(2, map[string]Mark{"public.stage": {"1", "12"}, "public.kept": {"2", "20"}, "Odd.A b*": {"4", "40"}, "public.far": {"9", "9"}}),
		at(4, map[string]Mark{"public.stage": {"7", "70"}, "public.kept": {"2", "20"}, "public.new": {"3", "30"}, "Odd.A b*": {"4", "41"}}),
	}
	want := []Change{
		{Table: "public.stage", Rewritten: 2, Remade: 1, Spans: 3, Lately: true, First: "--first public.stage", Exclude: "--exclude-table public.stage"},
		{Table: "Odd.A b*", Rewritten: 1, Spans: 3, First: `--first 'Odd.A b\*'`, Exclude: `--exclude-table '"Odd"."A b*"'`},
	}
	if got := Compare(looks); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := Compare(looks[:1]); len(got) != 0 {
		t.Errorf("of one look: %+v", got)
	}
}
