package output

import (
	"math"
	"testing"
	"time"
	"unicode/utf8"
)

func TestCount(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", -1000: "-1,000", -12: "-12", 12345: "12,345",
		1234567: "1,234,567", math.MaxInt64: "9,223,372,036,854,775,807", math.MinInt64: "-9,223,372,036,854,775,808",
	} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0.0s", 440 * time.Millisecond: "0.4s", 9949 * time.Millisecond: "9.9s", 9950 * time.Millisecond: "10s",
		59*time.Second + 700*time.Millisecond: "1m 00s", 123 * time.Second: "2m 03s", time.Hour + 5*time.Minute: "1h 05m",
		76 * time.Hour: "3d 04h", -90 * time.Second: "-1m 30s", math.MinInt64: "-106751d 23h",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	for r, want := range map[float64]string{
		0: "0 B/s", -3: "0 B/s", 512.7: "512 B/s", 312.5 * (1 << 20): "312.5 MiB/s", math.Inf(1): "4194304.0 TiB/s",
	} {
		if got := Rate(r); got != want {
			t.Errorf("Rate(%v) = %q, want %q", r, got, want)
		}
	}
	if got := Rate(math.NaN()); got != "0 B/s" {
		t.Errorf("Rate(NaN) = %q", got)
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                             "",
		"plain/path with space":        "plain/path with space",
		"备份/ünïcode":                   "备份/ünïcode",
		"a\nerror: forged":             `a\nerror: forged`,
		"\x1b]0;title\x07":             `\x1b]0;title\a`,
		"bad \xff\xfe utf8":            `bad \xff\xfe utf8`,
		"tab\tcr\rnul\x00":             `tab\tcr\rnul\x00`,
		"right\u202eleft":              `right\u202eleft`,
		"line\u2028separator c1\u009b": `line\u2028separator c1\u009b`,
		`C:\temp "x"`:                  `C:\temp "x"`,
	} {
		if got := Clean(s); got != want {
			t.Errorf("Clean(%q) = %q, want %q", s, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"", "a", "\x1b[2J", "\xff", "备\n份", "\ufffd"} {
		f.Add(seed, 7)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		clean := Clean(s)
		if !utf8.ValidString(clean) {
			t.Fatalf("%q is no UTF-8", clean)
		}
		for _, r := range clean {
			if r < ' ' || (r >= 0x7f && r < 0xa0) {
				t.Fatalf("%q holds a control character", clean)
			}
		}
		limit = min(max(limit, 0), 1000)
		for _, short := range []string{cut(clean, limit), cutFront(clean, limit)} {
			if width(short) > limit || !utf8.ValidString(short) {
				t.Fatalf("%q is wider than %d", short, limit)
			}
		}
	})
}

func TestCut(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text       string
		limit      int
		end, front string
	}{
		{"short", 5, "short", "short"},
		{"a/long/path/x.so", 10, "a/long/...", "...th/x.so"},
		{"备份备份备份", 9, "备份备...", "...份备份"},
		{"abcdef", 2, "..", ".."},
		{"abcdef", -1, "", ""},
	}
	for _, test := range tests {
		if got := cut(test.text, test.limit); got != test.end {
			t.Errorf("cut(%q, %d) = %q, want %q", test.text, test.limit, got, test.end)
		}
		if got := cutFront(test.text, test.limit); got != test.front {
			t.Errorf("cutFront(%q, %d) = %q, want %q", test.text, test.limit, got, test.front)
		}
	}
}
