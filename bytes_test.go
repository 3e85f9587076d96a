package capstan_test

import (
	"testing"

	"capstan"
)

func TestParseBytes(t *testing.T) {
	t.Parallel()
	good := map[string]capstan.Bytes{
		"0": 0, "512": 512, "512B": 512, "1K": 1024, "1k": 1024, "1KiB": 1024, "1 kb": 1024,
		"4GiB": 4 * capstan.GiB, "1.5m": 1536 * capstan.KiB, " 2T ": 2 * capstan.TiB, "9223372036854775807": 1<<63 - 1,
	}
	for text, want := range good {
		got, err := capstan.ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "-1K", "1.5", "1X", "1e30G", "9223372036854775808", "9000000T", "NaN", "infK", "K"} {
		if got, err := capstan.ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d without an error", text, got)
		}
	}
}

func TestBytesString(t *testing.T) {
	t.Parallel()
	for value, want := range map[capstan.Bytes]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 4 * capstan.GiB: "4.0 GiB", -2048: "-2.0 KiB", 3 * capstan.TiB: "3.0 TiB",
	} {
		if got := value.String(); got != want {
			t.Errorf("%d is written %q, want %q", int64(value), got, want)
		}
	}
}

func FuzzParseBytes(f *testing.F) {
	for _, seed := range []string{"1", "1.5G", "-3", "9e9T", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := capstan.ParseBytes(text)
		if err == nil && n < 0 {
			t.Errorf("ParseBytes(%q) = %d", text, n)
		}
		if err != nil {
			return
		}
		// What is shown for it is read as nearly the same: one decimal of its unit is kept.
		if shown, err := capstan.ParseBytes(n.String()); err != nil && n < 1<<62 || err == nil && (shown-n > n/20+1 || n-shown > n/20+1) {
			t.Errorf("%q is %d, shown as %s, which is %d, %v", text, n, n, shown, err)
		}
	})
}
