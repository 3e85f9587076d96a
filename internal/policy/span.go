package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is a length of time by the calendar: a month of it is as long as the month
// that it is counted in.
type Span struct{ Years, Months, Days, Hours int }

// maxSpan bounds each number of a span, so that no date overflows.
const maxSpan = 10_000

// ParseSpan reads a span: numbers with the units y, m, w, d and h, the larger unit
// first, such as 30d, 6m, 2y, 1y6m or 36h. m is a month. A span of nothing is an error.
func ParseSpan(text string) (Span, error) {
	var s Span
	const units = "ymwdh"
	rest, last := text, -1
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits == len(rest) {
			return Span{}, badSpan(text)
		}
		n, err := strconv.Atoi(rest[:digits])
		unit := strings.IndexByte(units, rest[digits])
		if err != nil || n > maxSpan || unit <= last {
			return Span{}, badSpan(text)
		}
		switch units[unit] {
		case 'y':
			s.Years = n
		case 'm':
			s.Months = n
		case 'w':
			s.Days = 7 * n
		case 'd':
			s.Days += n
		case 'h':
			s.Hours = n
		}
		rest, last = rest[digits+1:], unit
	}
	if s == (Span{}) || s.Days > maxSpan { // as the weeks that they come from
		return Span{}, badSpan(text)
	}
	return s, nil
}

func badSpan(text string) error {
	return fmt.Errorf("%q is no span of time: give years, months, weeks, days or hours, such as 30d, 6m, 2y or 1y6m", text)
}

// String gives the span as ParseSpan reads it; empty for none.
func (s Span) String() string {
	var b strings.Builder
	for _, part := range []struct {
		n    int
		unit byte
	}{{s.Years, 'y'}, {s.Months, 'm'}, {s.Days, 'd'}, {s.Hours, 'h'}} {
		if part.n > 0 {
			fmt.Fprintf(&b, "%d%c", part.n, part.unit)
		}
	}
	return b.String()
}

// Before is the time that lies the span before t, on the clocks of the zone: a
// month before the 31st is the last day of a shorter month.
func (s Span) Before(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	year, month, day := t.Date()
	first := time.Date(year-s.Years, month-time.Month(s.Months), 1, 0, 0, 0, 0, time.UTC)
	day = min(day, first.AddDate(0, 1, -1).Day())
	at := time.Date(first.Year(), first.Month(), day-s.Days, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
	return at.Add(-time.Duration(s.Hours) * time.Hour)
}
