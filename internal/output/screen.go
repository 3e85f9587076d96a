package output

import (
	"strconv"
	"strings"
)

// screen is the progress view at the lower end of a terminal: what it should show
// and what was last written of it. Only the goroutine that writes knows the latter,
// hence the repainting lives there; a view that nobody reads costs nothing and is
// replaced by the newest one.
type screen struct {
	lines   []string // wanted
	stale   bool     // wanted and shown differ
	painted []int    // columns of the lines on the terminal
}

func (s *screen) shows() bool { return len(s.painted) > 0 }

// want sets the lines to be shown; none clears the view.
func (s *screen) want(lines []string) {
	s.lines = lines
	s.stale = len(lines) > 0 || s.shows()
}

// lost notes that it is not known what the terminal shows.
func (s *screen) lost() { s.painted, s.stale = nil, false }

// erase appends what takes the painted lines off a terminal that is now columns
// wide: lines that no longer fit were wrapped by it.
func (s *screen) erase(b []byte, columns int) []byte {
	rows := 0
	for _, width := range s.painted {
		rows += 1
		if columns > 0 && width > columns {
			rows += (width - 1) / columns
		}
	}
	s.painted = nil
	if rows == 0 {
		return b
	}
	b = append(b, "\r\x1b["...)
	b = strconv.AppendInt(b, int64(rows), 10)
	return append(b, "A\x1b[J"...)
}

// draw appends the wanted lines, cut to the terminal's size. One row stays free for
// the cursor.
func (s *screen) draw(b []byte, columns, rows int) []byte {
	s.stale = false
	for i, line := range s.lines {
		if rows > 0 && i >= rows-1 {
			break
		}
		if columns > 0 && width(line) > columns {
			line = cut(strings.ReplaceAll(strings.ReplaceAll(line, waitColour, ""), plainColour, ""), columns)
		}
		b = append(append(b, line...), '\n')
		s.painted = append(s.painted, width(line))
	}
	return b
}

// Paint shows lines at the lower end of the terminal in place of those of the last
// call, below all messages; none takes the view away. It never blocks. Frames that
// the terminal is too slow for are left out.
func (l *Lossy) Paint(lines []string) {
	if l.size == nil {
		return
	}
	l.mu.Lock()
	if !l.closing {
		l.screen.want(lines)
	}
	l.mu.Unlock()
	l.signal()
}
