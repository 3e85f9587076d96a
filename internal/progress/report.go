package progress

import (
	"fmt"
	"math"
	"time"
)

// StageReport says where a stage's time went. SecondsMoving and SecondsWaiting
// add up to the time that the stage was active; WaitingFor adds up to
// SecondsWaiting. All are rounded to milliseconds.
type StageReport struct {
	Name           string               `json:"name"`
	SecondsMoving  float64              `json:"seconds_moving"`
	SecondsWaiting float64              `json:"seconds_waiting"`
	WaitingFor     map[Resource]float64 `json:"waiting_for"`
}

// Report gives the times of all stages up to now, in the order of first use.
func (t *Tracker) Report() []StageReport {
	stages := t.list()
	reports := make([]StageReport, 0, len(stages))
	for _, s := range stages {
		reports = append(reports, s.report())
	}
	return reports
}

func (s *Stage) report() StageReport {
	now := s.tracker.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(now)
	r := StageReport{Name: s.name, SecondsMoving: milli(s.moving), WaitingFor: make(map[Resource]float64, len(s.waiting))}
	var total time.Duration
	for resource, d := range s.waiting {
		r.WaitingFor[resource] = milli(d)
		total += d
	}
	r.SecondsWaiting = milli(total)
	return r
}

// milli is a duration in seconds, rounded to milliseconds.
func milli(d time.Duration) float64 {
	return math.Round(d.Seconds()*1000) / 1000
}

// Bottleneck says in words what bound the run up to now: "78 % of the time pack
// waited for volume" or "pack was moving 96 % of the time". It is empty as long as
// no stage was active.
func (t *Tracker) Bottleneck() string { return Bottleneck(t.Report(), t.Elapsed()) }

// Bottleneck is Tracker.Bottleneck for a report that was kept; elapsed is the
// length of the run. Waits for another stage do not count, since that stage's own
// times say more.
func Bottleneck(reports []StageReport, elapsed time.Duration) string {
	seconds := elapsed.Seconds()
	if seconds <= 0 {
		return ""
	}
	internal := make(map[Resource]bool, len(reports))
	for _, r := range reports {
		internal[ForStage(r.Name)] = true
	}
	var longest float64
	var words string
	for _, r := range reports {
		if r.SecondsMoving > longest {
			longest = r.SecondsMoving
			words = fmt.Sprintf("%s was moving %s of the time", r.Name, percent(longest/seconds))
		}
	}
	for _, r := range reports {
		for resource, waited := range r.WaitingFor {
			if !internal[resource] && waited > longest {
				longest = waited
				words = fmt.Sprintf("%s of the time %s waited for %s", percent(longest/seconds), r.Name, resource)
			}
		}
	}
	return words
}

func percent(share float64) string {
	return fmt.Sprintf("%.0f %%", min(share, 1)*100)
}
