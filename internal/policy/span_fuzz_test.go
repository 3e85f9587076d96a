package policy

import (
	"testing"
	"time"
)

// FuzzSpan: a span comes back from its own text, and lies before, on every clock.
func FuzzSpan(f *testing.F) {
	for _, seed := range []string{"30d", "1y6m", "2w3d4h", "10000y", "9000w", "d", "1d1d", "99999999999999999999y", "1 d"} {
		f.Add(seed, int64(1_700_000_000))
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, at int64) {
		span, err := ParseSpan(text)
		if err != nil {
			return
		}
		if again, err := ParseSpan(span.String()); err != nil || again != span {
			t.Fatalf("%q is %+v, whose text %q is %+v, %v", text, span, span, again, err)
		}
		now := time.Unix(at%(1<<40), 0)
		for _, zone := range []*time.Location{time.UTC, zone} {
			if before := span.Before(now, zone); !before.Before(now) {
				t.Fatalf("%q before %v is %v", text, now, before)
			}
		}
	})
}
