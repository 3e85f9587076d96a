package policy

import (
	"strings"
	"testing"
	"time"

	"capstan"
)

// days are the sets of successive days at noon, the first one on the given date.
func days(t *testing.T, from string, n int) (sets []Set) {
	t.Helper()
	first, err := time.Parse(time.DateOnly, from)
	if err != nil {
		t.Fatal(err)
	}
	next := map[string]int{}
	for i := range n {
		at := first.AddDate(0, 0, i).Add(12 * time.Hour)
		id := capstan.NewSetID(at, 1)
		next[id.Month()]++
		sets = append(sets, Set{ID: capstan.NewSetID(at, next[id.Month()]), Started: at, Status: capstan.RunComplete, Whole: true})
	}
	return sets
}

// told is a plan in words: "+" or "-" and the id's end, with the first reason.
func told(plan Plan) string {
	var words []string
	for _, v := range plan {
		mark := "-"
		if v.Keep {
			mark = "+"
		}
		words = append(words, mark+string(v.Set[5:])+" "+v.Reasons[0].String())
	}
	return strings.Join(words, "\n")
}

func noon(t *testing.T, date string) time.Time {
	t.Helper()
	at, err := time.Parse(time.DateOnly, date)
	if err != nil {
		t.Fatal(err)
	}
	return at.Add(13 * time.Hour)
}

func TestPlanTellsItsReasons(t *testing.T) {
	t.Parallel()
	sets := days(t, "2026-10-29", 6) // Thursday to Tuesday
	sets[1].Pinned = true
	sets[3].Base = sets[2].ID
	sets[4].Whole = false
	plan := Apply(sets, Rules{Last: 1, Weekly: 2}, noon(t, "2026-11-03"), time.UTC)
	want := `+11_000003 last 1 of 1
-11_000002 no rule keeps it
+11_000001 weekly 2026-W44
+10_000003 set 2026-11_000001 builds on it
+10_000002 it is pinned
-10_000001 no rule keeps it`
	if got := told(plan); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if gone := plan.LetGo(); len(gone) != 2 || gone[0] != "2026-11_000002" || gone[1] != "2026-10_000001" {
		t.Errorf("let go %s", gone)
	}
}

func TestNewestThatCannotBeRestoredTakesNoPlace(t *testing.T) {
	t.Parallel()
	sets := days(t, "2026-11-01", 4)
	sets[3].Whole = false
	sets[2].Status, sets[2].Base = capstan.RunPartial, "2026-01_000001" // which nobody knows
	plan := Apply(sets, Rules{Last: 1}, noon(t, "2026-11-04"), time.UTC)
	want := `+11_000004 last 1 of 1
+11_000003 last 1 of 1
+11_000002 last 1 of 1
-11_000001 no rule keeps it`
	if got := told(plan); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNoRulesKeepAll(t *testing.T) {
	t.Parallel()
	if gone := Apply(days(t, "2020-01-01", 50), Rules{}, noon(t, "2026-11-04"), time.UTC).LetGo(); len(gone) > 0 {
		t.Errorf("let go %s", gone)
	}
}

// A job that has not run for years keeps what its rules want of its last days.
func TestWithinIsCountedFromTheNewest(t *testing.T) {
	t.Parallel()
	plan := Apply(days(t, "2020-01-01", 40), Rules{Within: Span{Days: 10}}, noon(t, "2026-11-04"), time.UTC)
	if kept := keptBy(plan); len(kept) != 11 || !kept["2020-01_000030"] {
		t.Errorf("kept %v", kept)
	}
}

func TestSetsOfTheFutureTakeNoPlace(t *testing.T) {
	t.Parallel()
	sets := append(days(t, "2026-11-01", 3), days(t, "2099-01-01", 2)...)
	plan := Apply(sets, Rules{Last: 2, Within: Span{Days: 1}}, noon(t, "2026-11-03"), time.UTC)
	if got := plan.LetGo(); len(got) != 1 || got[0] != "2026-11_000001" {
		t.Errorf("let go %s of\n%s", got, told(plan))
	}
}

// The day of a set is that of the zone: 23:30 in Berlin is the next day in Kathmandu.
func TestDaysAreThoseOfTheZone(t *testing.T) {
	t.Parallel()
	sets := days(t, "2026-11-01", 2)
	sets[0].Started = time.Date(2026, 11, 1, 22, 30, 0, 0, time.UTC)
	sets[1].Started = time.Date(2026, 11, 2, 1, 0, 0, 0, time.UTC)
	kathmandu, err := time.LoadLocation("Asia/Kathmandu")
	if err != nil {
		t.Fatal(err)
	}
	for zone, want := range map[*time.Location]int{time.UTC: 0, kathmandu: 1} {
		if gone := Apply(sets, Rules{Daily: 5}, noon(t, "2026-11-03"), zone).LetGo(); len(gone) != want {
			t.Errorf("in %s let go %s", zone, gone)
		}
	}
}

func TestFailedRuns(t *testing.T) {
	t.Parallel()
	sets := days(t, "2026-11-01", 3)
	sets[0].Status, sets[2].Status = capstan.RunFailed, capstan.RunCancelled
	want := `+11_000003 its run ended cancelled, and no later set can be restored
+11_000002 daily 2026-11-02
-11_000001 its run ended failed, and a later set can be restored`
	if got := told(Apply(sets, Rules{Daily: 30}, noon(t, "2026-11-04"), time.UTC)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestChosenSets(t *testing.T) {
	t.Parallel()
	sets := days(t, "2026-11-01", 4)
	sets[1].Base, sets[2].Waiting = sets[0].ID, true
	ids := func(days ...int) (all []capstan.SetID) {
		for _, n := range days {
			all = append(all, sets[n-1].ID)
		}
		return all
	}
	for _, c := range []struct {
		named []capstan.SetID
		want  string
	}{
		{ids(1), "+11_000001 set 2026-11_000002 builds on it"},
		{ids(2), "-11_000002 it was asked for"},
		{ids(2, 1), "-11_000002 it was asked for\n-11_000001 it was asked for"},
		{ids(3), "+11_000003 a volume has yet to get some of it"},
		{ids(4), "-11_000004 it was asked for"},
	} {
		if got := told(Choose(sets, c.named)); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.named, got, c.want)
		}
	}
	want := "+11_000004 it is the last one that can be restored\n-11_000002 it was asked for\n-11_000001 it was asked for"
	sets[2].Whole = false
	if got := told(Choose(sets, ids(1, 2, 4))); got != want {
		t.Errorf("all that can be restored: got\n%s\nwant\n%s", got, want)
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ span, from, want string }{
		{"30d", "2026-03-31 12:00", "2026-03-01 12:00"},
		{"1m", "2026-03-31 12:00", "2026-02-28 12:00"},
		{"1m", "2024-03-31 12:00", "2024-02-29 12:00"},
		{"1y", "2024-02-29 12:00", "2023-02-28 12:00"},
		{"13m", "2026-01-31 08:00", "2024-12-31 08:00"},
		{"1y2m1w3d", "2026-11-20 00:00", "2025-09-10 00:00"},
		{"1d", "2026-03-29 12:00", "2026-03-28 12:00"}, // of 23 hours
		{"24h", "2026-03-29 12:00", "2026-03-28 11:00"},
		{"2w", "2026-01-01 00:00", "2025-12-18 00:00"},
	} {
		span, err := ParseSpan(c.span)
		if err != nil {
			t.Errorf("%s: %v", c.span, err)
			continue
		}
		const layout = "2006-01-02 15:04"
		from, err := time.ParseInLocation(layout, c.from, berlin)
		if err != nil {
			t.Fatal(err)
		}
		if got := span.Before(from, berlin).Format(layout); got != c.want {
			t.Errorf("%s before %s is %s, want %s", c.span, c.from, got, c.want)
		}
		if again, err := ParseSpan(span.String()); err != nil || again != span {
			t.Errorf("%s is written as %q, read as %v, %v", c.span, span, again, err)
		}
	}
	for _, bad := range []string{"", "0d", "d", "30", "-3d", "3x", "1d1d", "1d1y", "1.5y", "10001d", "99999999999999999999d", "3 d", "30s", "2h3"} {
		if span, err := ParseSpan(bad); err == nil {
			t.Errorf("%q is read as %v", bad, span)
		}
	}
	rules := Rules{Last: 7, Daily: 14, Yearly: 2, Within: Span{Months: 6}}
	if got, want := rules.String(), "last 7, daily 14, yearly 2, within 6m"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// When no rule reaches a set that can be restored, the newest one stays.
func TestLastThatCanBeRestoredStays(t *testing.T) {
	t.Parallel()
	sets := days(t, "2026-11-01", 3)
	sets[1].Whole, sets[2].Status = false, capstan.RunFailed
	sets[0].Started = noon(t, "2026-12-24") // its clock was wrong
	plan := Apply(sets, Rules{Within: Span{Days: 1}}, noon(t, "2027-01-01"), time.UTC)
	want := `+11_000003 its run ended failed, and no later set can be restored
-11_000002 no rule keeps it
+11_000001 within 1d`
	if got := told(plan); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	sets[0].Started, sets[1].Started = noon(t, "2020-01-01"), noon(t, "2026-12-24")
	want = strings.Replace(want, "-11_000002 no rule keeps it\n+11_000001 within 1d", "+11_000002 within 1d\n+11_000001 it is the last one that can be restored", 1)
	if got := told(Apply(sets, Rules{Within: Span{Days: 1}}, noon(t, "2027-01-01"), time.UTC)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
