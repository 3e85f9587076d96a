package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan"
)

// standIn behaves as capstan's command line does, as far as the bench can see.
const standIn = `#!/bin/sh
set -e
case $1$2 in
backup--to) tar -P -cf "$3/set.tar" "$7" "$8" ;;
backup*) tar -C "$(dirname "$2")" -cf "$4/set.tar" "$(basename "$2")" ;;
restore*) tar -C "$4" -xf "$(dirname "$6")/out/set.tar" $8 ;;
lslatest) echo "$3" ;;
find*) echo "$2" ;;
pgdump) "$9" -Fd -f "$5" "$3" ;;
esac
`

// filler behaves as the catalog's benchmark.
const filler = `#!/bin/sh
echo "BenchmarkLarge-2 1 3 ns/op 111.5 bytes/entry 512000 entries/s"
`

func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "capstan")
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRunMeasuresEveryCase(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	if err := os.Chmod(filepath.Dir(work), 0o711); err != nil { // servers run as another user
		t.Fatal(err)
	}
	reportFile := filepath.Join(t.TempDir(), "report.md")
	var out strings.Builder
	err := run(t.Context(), []string{
		"-capstan", script(t, standIn), "-dir", work, "-out", reportFile,
		"-large-dir", work, "-filler", script(t, filler),
		"-peers", "", "-runs", "2", "-tree", "400K", "-large", "1M", "-random", "300K", "-tiny", "1200", "-archive", "3M", "-entries", "1000", "-table", "200K", "-tables", "30",
	}, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(reportFile)
	if err != nil || string(written) != out.String() {
		t.Errorf("the report's file differs from what was printed (%v)", err)
	}
	for _, want := range []string{
		"| capstan | ", "1200 files in 3 directories", "1 files in 1 directories, 0 symbolic links, 1.0 MiB",
		"| entries added | ≥ 400000/s | 512000/s | yes |", "| files | ≥ 50000 | ", "| size of an entry | ≤ 120.0 bytes | 111.5 bytes | yes |",
		"| restore: wall beside zstd -d, tar -x | ≤ 0.90 × | ", "| wall beside pg_dump -Fd -j2 -Z zstd:1 | ≤ 1.05 × | ",
		"| longest wait of an ALTER for a dump of ours | ≤ 1.00 s | ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
	for _, name := range caseNames() {
		if !strings.Contains(out.String(), "\n## "+name+": ") {
			t.Errorf("the report lacks the case %s", name)
		}
	}
	if rest, err := os.ReadDir(work); err != nil || len(rest) > 0 {
		t.Errorf("left behind: %v (%v)", rest, err)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, binary, want string
		args               []string
	}{
		{"a failing contestant", "#!/bin/sh\necho broken >&2\nexit 7\n", "exit status 7: broken", nil},
		{"a restore that loses files", strings.Replace(standIn, "restore*) tar", "restore*) true", 1), "restored 0 files", []string{"-cases", "tree"}},
		{"a dump that lacks tables", strings.Replace(standIn, "-Fd", "-Fd -T t3", 1), "holds 29 tables, want 30", []string{"-cases", "pgtables", "-tables", "30"}},
		{"a restored file that differs", strings.Replace(standIn, "$8 ;;", "$8; echo >>$4/$8 ;;", 1), "came back as 11001 bytes", []string{"-cases", "single"}},
		{"a directory without room", standIn, "has room for", []string{"-large", "1000000G"}},
		{"an unknown case", standIn, `no "huge"`, []string{"-cases", "huge"}},
		{"no runs", standIn, "at least 1", []string{"-runs", "0"}},
		{"a program that is not there", "", "make build", []string{"-capstan", "/nowhere/capstan"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			work := t.TempDir()
			if err := os.Chmod(filepath.Dir(work), 0o711); err != nil {
				t.Fatal(err)
			}
			args := append([]string{
				"-capstan", script(t, test.binary), "-dir", work, "-out", "",
				"-large-dir", t.TempDir(), "-peers", "", "-runs", "1", "-cases", "large", "-large", "1K", "-tree", "20K", "-archive", "2M",
			}, test.args...)
			err := run(t.Context(), args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestPipeline(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	p := pipeline{stdout: out, commands: []command{
		{args: []string{"sh", "-c", "echo $GREETING"}, env: []string{"GREETING=hello"}},
		{args: []string{"tr", "a-z", "A-Z"}},
	}}
	used, err := p.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(out); err != nil || string(text) != "HELLO\n" {
		t.Errorf("output %q, %v", text, err)
	}
	if used.wall <= 0 || used.rss <= 0 {
		t.Errorf("used %+v, want a time and a size", used)
	}

	// The reader that ends first must not leave the writer or the bench hanging.
	p = pipeline{commands: []command{{args: []string{"yes"}}, {args: []string{"false"}}}}
	if _, err := p.run(t.Context()); err == nil || !strings.Contains(err.Error(), "false: exit status 1") {
		t.Errorf("error %v, want that of false", err)
	}
	p = pipeline{commands: []command{{args: []string{"cat"}}, {args: []string{"/nowhere/program"}}}}
	if _, err := p.run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that the program is not there", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("enough"))
	defer cancel()
	if _, err := single(command{args: []string{"sleep", "60"}}).run(ctx); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("error %v, want the cause of the end", err)
	}
}

// TestPipelineCountsMemory compares with a child of known size.
func TestPipelineCountsMemory(t *testing.T) {
	t.Parallel()
	large := single(command{args: []string{"dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"}})
	used, err := large.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if used.rss < 200*capstan.MiB || used.rss > 300*capstan.MiB {
		t.Errorf("peak %v of a process that holds 200 MiB", used.rss)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		walls []time.Duration
		want  time.Duration
	}{
		{nil, 0},
		{[]time.Duration{5}, 5},
		{[]time.Duration{9, 1, 5}, 5},
		{[]time.Duration{8, 2, 4, 100}, 6},
	} {
		var all []usage
		for _, wall := range test.walls {
			all = append(all, usage{wall: wall})
		}
		if got := middle(all).wall; got != test.want {
			t.Errorf("median of %v is %v, want %v", test.walls, got, test.want)
		}
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	text := goalTable([]goal{
		{what: "quick", limit: 100, measured: 100.4, unit: " ms"},
		{what: "many", limit: 50_000, measured: 50_000, atLeast: true},
	})
	for _, want := range []string{"| quick | ≤ 100.0 ms | 100.4 ms | **no** |\n", "| many | ≥ 50000 | 50000 | yes |\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
	runs := map[string][]usage{"a": {{wall: 3 * time.Second}}, "b": {{wall: 4 * time.Second}}}
	if got := times("", runs, "a", "b", 1, wall); len(got) != 1 || got[0].measured != 0.75 {
		t.Errorf("3 s beside 4 s are %v", got)
	}
	if got := times("", runs, "a", "nobody", 1, wall); got != nil {
		t.Errorf("beside what was not measured: %v", got)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	table(&b, "backup", []string{"base", "other"}, map[string][]usage{
		"base":  {{wall: 4 * time.Second, cpu: 2 * time.Second, rss: capstan.MiB, out: 1e6}},
		"other": {{wall: 3 * time.Second, out: 2e6}, {wall: 1 * time.Second, out: 2e6}},
	})
	for _, want := range []string{
		"| base | 4.00 | 4.00 to 4.00 | 2.00 | 1 | 1.0 | 1.00 | 1.00 | 1.00 |\n",
		"| other | 2.00 | 1.00 to 3.00 | 0.00 | 0 | 2.0 | 0.50 | 0.00 | 2.00 |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}
