package envelope

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A stock program reads the QR codes, drawn from what the sheets hold.
func TestStockProgramReadsCode(t *testing.T) {
	t.Parallel()
	pq, err := NewPostQuantumKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []Key{mustKey(t), mustKey(t), pq} {
		for form, draw := range map[SheetForm]func(*testing.T, string) image.Image{SheetText: drawBlocks, SheetHTML: drawSVG} {
			dir := t.TempDir()
			file, err := os.Create(filepath.Join(dir, "code.png"))
			if err != nil {
				t.Fatal(err)
			}
			if err := png.Encode(file, draw(t, sheet(t, key, form))); err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			got := run(t, dir, "zbarimg", "--quiet", "--raw", "code.png")
			again, err := ParseKey(string(got))
			if err != nil || again.Secret() != key.Secret() || strings.TrimSpace(string(got)) != key.Secret() {
				t.Errorf("the code of the %s sheet is %q, %v", form, got, err)
			}
		}
	}
}

const dot = 6 // pixels of a square's side

func canvas(side int) *image.Gray {
	page := image.NewGray(image.Rect(0, 0, side*dot, side*dot))
	for i := range page.Pix {
		page.Pix[i] = 255
	}
	return page
}

func fill(page *image.Gray, x, y, n int) {
	for dy := range dot {
		for dx := range n * dot {
			page.SetGray(x*dot+dx, y*dot+dy, color.Gray{})
		}
	}
}

// drawBlocks draws the half blocks of a text sheet.
func drawBlocks(t *testing.T, text string) image.Image {
	t.Helper()
	_, text, _ = strings.Cut(text, "QR code:\n")
	text, _, _ = strings.Cut(text, "To restore with")
	lines := strings.Split(text, "\n")
	page := canvas(2 * len(lines))
	for y, line := range lines {
		for x, block := range []rune(line) {
			if block == '█' || block == '▀' {
				fill(page, x, 2*y, 1)
			}
			if block == '█' || block == '▄' {
				fill(page, x, 2*y+1, 1)
			}
		}
	}
	return page
}

// drawSVG draws the path of an HTML sheet.
func drawSVG(t *testing.T, text string) image.Image {
	t.Helper()
	start, end := strings.Index(text, "<svg"), strings.Index(text, "</svg>")
	if start < 0 || end < start {
		t.Fatal("there is no SVG")
	}
	var svg struct {
		Box   string `xml:"viewBox,attr"`
		Paths []struct {
			D    string `xml:"d,attr"`
			Fill string `xml:"fill,attr"`
		} `xml:"path"`
	}
	if err := xml.NewDecoder(bytes.NewBufferString(text[start : end+len("</svg>")])).Decode(&svg); err != nil {
		t.Fatal(err)
	}
	var zero, side int
	if _, err := fmt.Sscan(svg.Box, &zero, &zero, &side, &side); err != nil || len(svg.Paths) != 2 || svg.Paths[1].Fill != "#000" {
		t.Fatalf("the SVG is %q with %d paths", svg.Box, len(svg.Paths))
	}
	page := canvas(side)
	for run := range strings.SplitSeq(strings.TrimSuffix(svg.Paths[1].D, "z"), "z") {
		var x, y, n, back int
		if _, err := fmt.Sscanf(run, "M%d %dh%dv1h-%d", &x, &y, &n, &back); err != nil || back != n {
			t.Fatalf("a run of the path is %q", run)
		}
		fill(page, x, y, n)
	}
	return page
}
