package output

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan"
)

func busyView() View {
	return View{
		Title: "2026-11_000001", Elapsed: 41 * time.Second,
		Entries: 12_345, EntriesTotal: 59_503,
		BytesIn: 1234 * capstan.MiB, BytesTotal: 1650 * capstan.MiB, BytesOut: 469 * capstan.MiB,
		Rate: 312.5 * float64(capstan.MiB), Ratio: 0.38, Left: 12 * time.Second,
		Stages: []StageView{
			{Name: "scan", Active: true, Object: "usr/share/doc/libc6/a-rather-long-name-that-does-not-fit-anywhere-in-the-narrow-views/NEWS.Debian.gz"},
			{Name: "pack", Active: true, Waiting: "volume", Detail: "nas1", For: 123 * time.Second, Object: "backup_2026-11_000001_0001.tar.zst"},
			{Name: "compressor close", Active: true, Idle: 75 * time.Second, Object: "backup_2026-11_000001_0002.tar.zst"},
			{Name: "write", Active: true, Object: "备份\x1b[2J/数据"},
			{Name: "sync"},
		},
	}
}

func TestRenderGolden(t *testing.T) {
	t.Parallel()
	views := map[string]View{
		"busy":  busyView(),
		"start": {Left: -1, Stages: []StageView{{Name: "scan", Active: true}}},
		"empty": {Left: -1},
	}
	for name, view := range views {
		for _, columns := range []int{40, 80, 120} {
			t.Run(fmt.Sprintf("%s-%d", name, columns), func(t *testing.T) {
				t.Parallel()
				lines := Render(view, columns, false)
				for _, line := range lines {
					if width(line) > columns {
						t.Errorf("%q is wider than %d columns", line, columns)
					}
				}
				golden(t, fmt.Sprintf("%s-%d.txt", name, columns), strings.Join(lines, "\n")+"\n")
			})
		}
	}
	golden(t, "busy-line.txt", Line(busyView())+"\n")
}

// golden compares with a file of testdata; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestRenderColour(t *testing.T) {
	t.Parallel()
	plain, colour := Render(busyView(), 80, false), Render(busyView(), 80, true)
	coloured := 0
	for i := range plain {
		if colour[i] == waitColour+plain[i]+plainColour {
			coloured++
		} else if colour[i] != plain[i] {
			t.Errorf("%q became %q", plain[i], colour[i])
		}
	}
	if coloured != 2 {
		t.Errorf("%d lines are coloured: the one that waits and the silent one should be", coloured)
	}
}

func TestRenderFitsEveryWidth(t *testing.T) {
	t.Parallel()
	for columns := range 200 {
		for _, line := range Render(busyView(), columns, false) {
			if width(line) > columns {
				t.Errorf("width %d: %q", columns, line)
			}
		}
	}
}

// Where nothing is to be counted, no zeros are shown, but what is waited for.
func TestViewWithoutEntries(t *testing.T) {
	t.Parallel()
	v := View{Uncounted: true, Elapsed: 3 * time.Second, Left: -1, Stages: []StageView{{Name: "stop", Active: true, Waiting: "server", Detail: "walsender", For: 2 * time.Second}}}
	if got, want := Line(v), "3.0s elapsed; stop waiting for server (walsender) for 2.0s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Render(v, 80, false); len(got) != 2 || got[0] != "3.0s elapsed" {
		t.Errorf("%q", got)
	}
	v.EntriesTotal = 7
	if got := Line(v); !strings.HasPrefix(got, "0 of 7 entries, 0 B in, 0 B out") {
		t.Errorf("%q", got)
	}
}

func TestViewAsEvent(t *testing.T) {
	t.Parallel()
	v := View{
		Title: "s", Elapsed: 1500 * time.Millisecond, Entries: 1, BytesIn: 2, BytesOut: 3, Rate: 4, Left: time.Second,
		Stages: []StageView{{Name: "pack", Active: true, Waiting: "space", For: 2 * time.Second}},
	}
	got, err := json.Marshal(v.event(time.Unix(0, 0).UTC()))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"progress","time":"1970-01-01T00:00:00Z","seconds":1.5,"seconds_left":1,"title":"s","entries":1,` +
		`"bytes_in":2,"bytes_out":3,"rate":4,"stages":[{"name":"pack","active":true,"waiting_for":"space","seconds":2}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPlainLinesAreDue(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_800_000_000, 0)
	l := plain{last: start, told: map[string]time.Time{}}
	moving := View{Stages: []StageView{{Name: "pack", Active: true}}}
	waits := func(d time.Duration) View {
		return View{Stages: []StageView{{Name: "pack", Active: true, Waiting: "volume", For: d}}}
	}
	steps := []struct {
		after int // seconds
		view  View
		due   bool
	}{
		{1, moving, false},
		{9, moving, false},
		{10, moving, true},
		{11, waits(time.Second), false},
		{13, waits(3 * time.Second), true},
		{14, waits(4 * time.Second), false},
		{15, moving, false},
		{22, waits(5 * time.Second), false}, // told less than a minute ago
		{23, waits(6 * time.Second), true},  // ten seconds since the last line
		{30, moving, false},
		{33, moving, true},
	}
	for _, step := range steps {
		if got := l.due(step.view, start.Add(time.Duration(step.after)*time.Second)); got != step.due {
			t.Errorf("after %d s: due %v", step.after, got)
		}
	}
}
