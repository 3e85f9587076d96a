package output

import (
	"fmt"
	"strings"
	"time"

	"capstan"
)

// View is what a progress view shows. The caller maps its own progress to it.
type View struct {
	Title        string        `json:"title,omitempty"` // the set, for example; may be empty
	Elapsed      time.Duration `json:"-"`
	Entries      int64         `json:"entries"`
	EntriesTotal int64         `json:"entries_total,omitempty"` // 0: not known
	BytesIn      capstan.Bytes `json:"bytes_in"`
	BytesTotal   capstan.Bytes `json:"bytes_total,omitempty"` // 0: not known
	BytesOut     capstan.Bytes `json:"bytes_out"`
	Rate         float64       `json:"rate"`            // input bytes a second
	Ratio        float64       `json:"ratio,omitempty"` // output over input; 0: not known
	Left         time.Duration `json:"-"`               // negative: not known
	Stages       []StageView   `json:"stages"`
	// Uncounted is for work that need not have entries, the stop of a server for
	// example: as long as nothing is counted, no zeros are shown.
	Uncounted bool `json:"-"`
}

// StageView is one stage of a View.
type StageView struct {
	Name    string        `json:"name"`
	Active  bool          `json:"active"`
	Waiting string        `json:"waiting_for,omitempty"` // the resource; empty while it moves
	Detail  string        `json:"detail,omitempty"`      // of the wait
	For     time.Duration `json:"-"`                     // since when it moves or waits
	Idle    time.Duration `json:"-"`                     // since its last sign of life, without declared waits
	Object  string        `json:"object,omitempty"`
}

const (
	waitColour  = "\x1b[33m"
	plainColour = "\x1b[0m"
	// silence is when a moving stage without sign of life is called so.
	silence = 5 * time.Second
)

// Render gives the lines of the view, each at most width columns wide: some lines
// of figures, wrapped between them, then one line a stage. colour marks stages that
// wait. It is a pure function.
func Render(v View, width int, colour bool) []string {
	var lines []string
	if v.Title != "" {
		lines = append(lines, cut(Clean(v.Title), width))
	}
	lines = append(lines, flow(v.figures(), width)...)
	names := 0
	for _, s := range v.Stages {
		names = max(names, min(len(s.Name), width/3))
	}
	for _, s := range v.Stages {
		line := fmt.Sprintf("  %-*s  ", names, cut(Clean(s.Name), names))
		line += s.state(width - len(line))
		line = cut(strings.TrimRight(line, " "), width)
		if colour && s.Active && (s.Waiting != "" || s.Idle >= silence) {
			line = waitColour + line + plainColour
		}
		lines = append(lines, line)
	}
	return lines
}

// figures are the numbers of a view, the most important ones first.
func (v *View) figures() []string {
	if v.Uncounted && v.Entries == 0 && v.EntriesTotal == 0 && v.BytesIn == 0 && v.BytesTotal == 0 && v.BytesOut == 0 {
		return []string{Duration(v.Elapsed) + " elapsed"}
	}
	entries, in := Count(v.Entries), v.BytesIn.String()
	if v.EntriesTotal > 0 {
		entries += " of " + Count(v.EntriesTotal)
	}
	if v.BytesTotal > 0 {
		in += " of " + v.BytesTotal.String()
	}
	all := []string{entries + " entries", in + " in", v.BytesOut.String() + " out"}
	if v.Ratio > 0 {
		all = append(all, fmt.Sprintf("ratio %.2f", v.Ratio))
	}
	all = append(all, Rate(v.Rate), Duration(v.Elapsed)+" elapsed")
	if v.Left >= 0 {
		all = append(all, Duration(v.Left)+" left")
	}
	return all
}

// flow puts words into as few lines of the width as possible.
func flow(words []string, width int) []string {
	var lines []string
	line := ""
	for _, word := range words {
		switch {
		case line == "":
			line = word
		case len(line)+2+len(word) <= width:
			line += ", " + word
		default:
			lines = append(lines, cut(line, width))
			line = word
		}
	}
	return append(lines, cut(line, width))
}

// state says in about room columns what the stage does: as much of it as fits, the
// duration rather than the detail.
func (s *StageView) state(room int) string {
	if !s.Active {
		return "idle"
	}
	all := []string{"moving"}
	switch what := Clean(s.Waiting); {
	case what != "":
		since := " for " + Duration(s.For)
		all = []string{"waiting for " + what + since, "awaits " + what + " " + Duration(s.For)}
		if s.Detail != "" {
			all = append([]string{"waiting for " + what + " (" + Clean(s.Detail) + ")" + since}, all...)
		}
	case s.Idle >= silence:
		all = []string{"moving, no progress for " + Duration(s.Idle), "no progress " + Duration(s.Idle)}
	}
	words := all[len(all)-1]
	for _, longer := range all {
		if width(longer) <= room {
			words = longer
			break
		}
	}
	if rest := room - width(words) - 2; s.Object != "" && rest >= 8 {
		words += "  " + cutFront(Clean(s.Object), rest)
	}
	return words
}

// Line is the view in one line without limit of width, for logs and pipes.
func Line(v View) string {
	words := strings.Join(v.figures(), ", ")
	if v.Title != "" {
		words = Clean(v.Title) + ": " + words
	}
	var stages []string
	for _, s := range v.Stages {
		if !s.Active {
			continue
		}
		s.Object = ""
		stages = append(stages, Clean(s.Name)+" "+s.state(1<<20))
	}
	if len(stages) > 0 {
		words += "; " + strings.Join(stages, ", ")
	}
	return words
}
