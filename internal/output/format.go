package output

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"capstan"
)

// Count gives a number with a comma between thousands: "12,345".
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Rate gives bytes a second with a binary unit: "312.5 MiB/s". It gives "0 B/s" for
// what is no number.
func Rate(bytesPerSecond float64) string {
	if math.IsNaN(bytesPerSecond) || bytesPerSecond < 0 {
		bytesPerSecond = 0
	}
	return capstan.Bytes(min(bytesPerSecond, float64(1<<62))).String() + "/s"
}

// Duration gives a length of time with its two largest units: "41s", "2m 03s",
// "1h 05m", "3d 04h"; below ten seconds with one decimal: "0.4s".
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	sign := ""
	if d < 0 {
		sign, d = "-", -max(d, -math.MaxInt64)
	}
	if d < 9950*time.Millisecond {
		return fmt.Sprintf("%s%.1fs", sign, d.Seconds())
	}
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%s%ds", sign, d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%s%dm %02ds", sign, d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%s%dh %02dm", sign, d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%s%dd %02dh", sign, d/day, d%day/time.Hour)
}
