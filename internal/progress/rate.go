package progress

import (
	"time"

	"capstan"
)

const (
	sampleEvery = time.Second
	sampleCount = 64
	rateWindow  = 10 * time.Second // of the rate that is shown
	etaWindow   = time.Minute      // of the rate that the time left is made from
)

// sample is what was done at a moment.
type sample struct {
	at      time.Time
	bytes   capstan.Bytes
	entries int64
}

// samples keeps the totals of about the last minute, one a second, and the newest
// ones. A rate is a difference over a window, so it depends neither on how often
// nor by how many it is asked for, and falls to zero when nothing moves.
type samples struct {
	ring  [sampleCount]sample
	count int // ever put into the ring
	last  sample
}

func (s *samples) add(x sample) {
	if x.at.Before(s.last.at) {
		x.at = s.last.at
	}
	if s.count == 0 || x.at.Sub(s.ring[(s.count-1)%sampleCount].at) >= sampleEvery {
		s.ring[s.count%sampleCount] = x
		s.count++
	}
	s.last = x
}

// over gives bytes and entries a second over the window that ends now, or over
// the whole run if that is shorter.
func (s *samples) over(window time.Duration, now time.Time) (bytes, entries float64) {
	from := now.Add(-window)
	if s.count == 0 || !s.last.at.After(from) {
		return 0, 0
	}
	oldest := max(0, s.count-sampleCount)
	base := s.ring[oldest%sampleCount]
	for i := s.count - 1; i >= oldest; i-- {
		if x := s.ring[i%sampleCount]; !x.at.After(from) {
			base = x
			break
		}
	}
	start := base.at
	if start.Before(from) { // what moved between base and from is counted, its time is not
		start = from
	}
	seconds := now.Sub(start).Seconds()
	if seconds <= 0 {
		return 0, 0
	}
	return float64(s.last.bytes-base.bytes) / seconds, float64(s.last.entries-base.entries) / seconds
}
