package output

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"unicode/utf8"
)

// glass is a small terminal: it understands what the view sends, scrolls, and wraps
// long lines as terminals do.
type glass struct {
	mu            sync.Mutex
	columns, rows int
	lines         [][]rune // all ever shown; the last rows of them are the screen
	row, column   int
	rest          []byte // begin of a rune or an escape sequence whose end is in the next write
	bad           string
}

// escapeEnds are the letters that end an escape sequence.
const escapeEnds = "ABCDJKm"

func newGlass(columns, rows int) *glass {
	return &glass{columns: columns, rows: rows, lines: [][]rune{nil}}
}

func (g *glass) size() (int, int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.columns, g.rows
}

// resize reflows, as most terminals do.
func (g *glass) resize(columns, rows int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.lines
	g.columns, g.rows, g.lines = columns, rows, nil
	for _, line := range old {
		for len(line) > columns {
			g.lines, line = append(g.lines, line[:columns:columns]), line[columns:]
		}
		g.lines = append(g.lines, line)
	}
	g.row = len(g.lines) - 1
}

func (g *glass) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	written := append(g.rest, p...)
	whole := len(written)
	if esc := bytes.LastIndexByte(written, '\x1b'); esc >= 0 && !bytes.ContainsAny(written[esc:], escapeEnds) {
		whole = esc
	}
	for n := 1; whole > 0 && whole == len(written) && n <= min(whole, utf8.UTFMax-1); n++ {
		if last := written[whole-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				whole -= n
			}
			break
		}
	}
	text := []rune(string(written[:whole]))
	g.rest = bytes.Clone(written[whole:])
	for i := 0; i < len(text); i++ {
		switch r := text[i]; r {
		case '\n':
			g.down()
		case '\r':
			g.column = 0
		case '\x1b':
			end := i + 1
			for end < len(text) && !strings.ContainsRune(escapeEnds, text[end]) {
				end++
			}
			g.escape(string(text[i+1 : end+1]))
			i = end
		default:
			if g.column == g.columns {
				g.down()
			}
			g.lines[g.row] = append(g.lines[g.row][:g.column], r)
			g.column++
		}
	}
	return len(p), nil
}

// A terminal is read in pieces that end anywhere.
func TestGlassInPieces(t *testing.T) {
	t.Parallel()
	g := newGlass(20, 5)
	for _, b := range []byte("one\ntwo\x1b[1A\x1b[Jö…\x1b[31m!\x1b[0m\n") {
		_, _ = g.Write([]byte{b})
	}
	if text, want := g.text(t), "oneö…!\n"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

func (g *glass) down() {
	g.row, g.column = g.row+1, 0
	if g.row == len(g.lines) {
		g.lines = append(g.lines, nil)
	}
}

func (g *glass) escape(s string) {
	switch {
	case strings.HasSuffix(s, "A"):
		n, err := strconv.Atoi(strings.Trim(s, "[A"))
		if err != nil || n < 1 || g.row-n < max(0, len(g.lines)-g.rows) {
			g.bad = s + ": moves above the screen"
			return
		}
		g.row -= n
	case s == "[J":
		g.lines = g.lines[:g.row+1]
		g.lines[g.row] = g.lines[g.row][:g.column]
	case strings.HasSuffix(s, "m"):
	default:
		g.bad = s
	}
}

func (g *glass) text(t *testing.T) string {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bad != "" {
		t.Errorf("bad escape sequence %q", g.bad)
	}
	var b strings.Builder
	for _, line := range g.lines {
		b.WriteString(string(line) + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestPaintKeepsTheViewBelowTheMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGlass(20, 8)
		l := NewLossy(g, LossyOptions{Size: g.size})
		check := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := g.text(t); got != want {
				t.Errorf("the terminal shows\n%s\nwant\n%s", got, want)
			}
		}
		fmt.Fprint(l, "one\n")
		l.Paint([]string{"a 1", waitColour + "b 1" + plainColour})
		check("one\na 1\nb 1\n")
		l.Paint([]string{"a 2", "b 2", "c 2"})
		check("one\na 2\nb 2\nc 2\n")
		fmt.Fprint(l, "two\nthree\n")
		check("one\ntwo\nthree\na 2\nb 2\nc 2\n")
		l.Paint([]string{waitColour + strings.Repeat("long", 20) + plainColour})
		check("one\ntwo\nthree\nlonglonglonglongl...\n")
		g.resize(8, 8) // the view's line is wrapped into three
		l.Paint([]string{"narrow"})
		check("one\ntwo\nthree\nnarrow\n")
		var many []string
		for i := range 30 {
			many = append(many, fmt.Sprint(i))
		}
		l.Paint(many)
		check("one\ntwo\nthree\n0\n1\n2\n3\n4\n5\n6\n")
		fmt.Fprint(l, "four\n")
		check("one\ntwo\nthree\nfour\n0\n1\n2\n3\n4\n5\n6\n")
		if err := l.Deliver(t.Context(), []byte("must\n")); err != nil {
			t.Error(err)
		}
		check("one\ntwo\nthree\nfour\nmust\n0\n1\n2\n3\n4\n5\n6\n")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		l.Paint([]string{"late"})
		check("one\ntwo\nthree\nfour\nmust\n")
	})
}

func TestPaintLeavesFramesOutThatNobodyReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		l := NewLossy(g, LossyOptions{Size: func() (int, int) { return 80, 25 }})
		for i := range 10_000 {
			l.Paint([]string{fmt.Sprint("frame ", i)})
		}
		synctest.Wait()
		close(g.open)
		synctest.Wait()
		if n := strings.Count(g.text(), "frame"); n > 2 || !strings.Contains(g.text(), "frame 9999\n") {
			t.Errorf("%d frames: %q", n, g.text())
		}
		if err := l.Close(); err != nil || l.Dropped() != 0 {
			t.Errorf("Close: %v, %d dropped", err, l.Dropped())
		}
	})
}

func TestPaintWithoutTerminalDoesNothing(t *testing.T) {
	t.Parallel()
	g := newGate(true)
	l := NewLossy(g, LossyOptions{})
	l.Paint([]string{"view"})
	if err := l.Close(); err != nil || g.text() != "" {
		t.Errorf("Close: %v, wrote %q", err, g.text())
	}
}
