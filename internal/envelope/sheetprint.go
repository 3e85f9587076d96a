package envelope

import (
	"fmt"
	htmltemplate "html/template"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/boombuler/barcode/qr"
)

// SheetForm is how a recovery sheet is written.
type SheetForm string

// The forms of a sheet. Text is for a typewriter font; HTML prints from any
// browser, stands alone, and its QR code is the better one.
const (
	SheetText SheetForm = "text"
	SheetHTML SheetForm = "html"
)

// SheetNote is what a sheet says besides the key.
type SheetNote struct {
	For  string    // what the key opens: "backups of files.example.org"
	Made time.Time // when the sheet was made
}

// RecoverySheet writes a page to be printed: the key in lines that can be typed,
// as a QR code, and how to restore without Capstan. Whoever has the page has the
// key. ReadSheet reads it back.
func RecoverySheet(w io.Writer, key Key, note SheetNote, form SheetForm) error {
	code, err := newSquares(key.secret)
	if err != nil {
		return err
	}
	view := sheetView{
		Title: sheetTitle, For: oneLine(note.For), Made: note.Made.Format("2 January 2006"),
		Recipient: abbreviate(key.recipient), Lines: sheetLines(key.secret), PostQuantum: strings.HasPrefix(key.secret, pqSecretPrefix),
	}
	switch form {
	case SheetText:
		view.Code = code.text()
		text, err := template.New("sheet").Parse(sheetText)
		if err != nil {
			return err
		}
		return text.Execute(w, view)
	case SheetHTML:
		view.Path, view.Side = code.path(), code.side()
		page, err := htmltemplate.New("sheet").Parse(sheetHTML)
		if err != nil {
			return err
		}
		return page.Execute(w, view)
	}
	return usage("print recovery sheet", "", fmt.Errorf("unknown form %q (text or html)", form), "")
}

// sheetView is what the templates show.
type sheetView struct {
	Title, For, Made, Recipient string
	Lines                       []string
	PostQuantum                 bool
	Code                        string // QR code in half blocks
	Path                        string // QR code as the path of an SVG
	Side                        int    // of the SVG, in squares
}

// oneLine keeps a text from being taken for a line of the sheet.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// quiet is the white border that a QR code needs, in squares.
const quiet = 4

// squares is a QR code: rows of black squares.
type squares [][]bool

// newSquares makes a QR code that is still read with a quarter of it damaged.
func newSquares(content string) (squares, error) {
	code, err := qr.Encode(content, qr.Q, qr.AlphaNumeric)
	if err != nil {
		return nil, fmt.Errorf("make QR code: %w", err)
	}
	bounds := code.Bounds()
	rows := make(squares, bounds.Dy())
	for y := range rows {
		rows[y] = make([]bool, bounds.Dx())
		for x := range rows[y] {
			red, _, _, _ := code.At(bounds.Min.X+x, bounds.Min.Y+y).RGBA()
			rows[y][x] = red == 0
		}
	}
	return rows, nil
}

// side is the width and height with the border.
func (s squares) side() int { return len(s) + 2*quiet }

// black gives a square, the border counted in.
func (s squares) black(x, y int) bool {
	x, y = x-quiet, y-quiet
	return y >= 0 && y < len(s) && x >= 0 && x < len(s[y]) && s[y][x]
}

// text draws two rows in one line.
func (s squares) text() string {
	var b strings.Builder
	for y := 0; y < s.side(); y += 2 {
		var line strings.Builder
		for x := range s.side() {
			switch upper, lower := s.black(x, y), s.black(x, y+1); {
			case upper && lower:
				line.WriteRune('█')
			case upper:
				line.WriteRune('▀')
			case lower:
				line.WriteRune('▄')
			default:
				line.WriteByte(' ')
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// path draws runs of squares as rectangles.
func (s squares) path() string {
	var b strings.Builder
	for y := range s.side() {
		for x := 0; x < s.side(); x++ {
			n := 0
			for s.black(x+n, y) {
				n++
			}
			if n > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x, y, n, n)
				x += n
			}
		}
	}
	return b.String()
}
