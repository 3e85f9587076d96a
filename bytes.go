package capstan

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a number of bytes. It is never negative where it is a size; a
// difference of two sizes may be.
type Bytes int64

// The binary units that ParseBytes and Bytes.String use.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

var byteUnits = [...]struct {
	suffix string
	size   Bytes
}{{"T", TiB}, {"G", GiB}, {"M", MiB}, {"K", KiB}}

// String gives the number with one decimal and a binary unit ("4.0 GiB"), or
// the plain number below one KiB ("512 B").
func (b Bytes) String() string {
	size := b
	if size < 0 {
		size = -size
	}
	for _, unit := range byteUnits {
		if size >= unit.size {
			return fmt.Sprintf("%.1f %siB", float64(b)/float64(unit.size), unit.suffix)
		}
	}
	return strconv.FormatInt(int64(b), 10) + " B"
}

// ParseBytes reads sizes as people type them: "4GiB", "4G", "4 gb", "1.5m",
// "512". Every unit is binary (1K = 1024). It refuses negative numbers,
// fractions of a byte that stem from no unit, and what exceeds an int64.
func ParseBytes(s string) (Bytes, error) {
	text := strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(s), " ", ""))
	text = strings.TrimSuffix(strings.TrimSuffix(text, "B"), "I")
	unit := Bytes(1)
	for _, u := range byteUnits {
		if number, ok := strings.CutSuffix(text, u.suffix); ok {
			text, unit = number, u.size
			break
		}
	}
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
		if whole < 0 || whole > math.MaxInt64/int64(unit) {
			return 0, fmt.Errorf("size %q is out of range", s)
		}
		return Bytes(whole) * unit, nil
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(number) || number < 0 || unit == 1 {
		return 0, fmt.Errorf("size %q is not a number with an optional unit K, M, G or T", s)
	}
	if number*float64(unit) >= math.MaxInt64 {
		return 0, fmt.Errorf("size %q is out of range", s)
	}
	return Bytes(number * float64(unit)), nil
}
