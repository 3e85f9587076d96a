package copytext_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"capstan"
	"capstan/internal/copytext"
)

func TestCSV(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		columns []string
		in, out string
		rows    int64
	}{
		"plain":         {[]string{"a", "b"}, "1\tx\n2\ty\n\\.\n\n\n", "\"a\",\"b\"\n\"1\",\"x\"\n\"2\",\"y\"\n", 2},
		"no rows":       {[]string{"a"}, "\\.\n\n\n", "\"a\"\n", 0},
		"NULL, empty":   {[]string{"a", "b", "c"}, "\\N\t\t\\N\n\\.\n", "\"a\",\"b\",\"c\"\n,\"\",\n", 1},
		"escapes":       {[]string{"a"}, `\b\f\n\r\t\v\\\q\101\x42\xg\0` + "\n\\.\n", "\"a\"\n\"\b\f\n\r\t\v\\qABxg\x00\"\n", 1},
		"backslash N":   {[]string{"a"}, "\\\\N\n\\Nx\n\\.\n", "\"a\"\n\"\\N\"\n\"Nx\"\n", 2},
		"quotes":        {[]string{`o"dd`, "x,y"}, "a\"b\t,\n\\.\n", "\"o\"\"dd\",\"x,y\"\n\"a\"\"b\",\",\"\n", 1},
		"like the end":  {[]string{"a"}, "\\\\.\n.\n\\.\n", "\"a\"\n\"\\.\"\n\".\"\n", 2},
		"one empty":     {[]string{"a"}, "\n\n\\.\n", "\"a\"\n\"\"\n\"\"\n", 2},
		"no columns":    {nil, "\n\n\\.\n\n\n", "\n\n\n", 2},
		"end, no line":  {[]string{"a"}, "x\n\\.", "\"a\"\n\"x\"\n", 1},
		"octal, hex":    {[]string{"a"}, "\\1018\\7\\x414\n\\.\n", "\"a\"\n\"A8\aA4\"\n", 1},
		"no characters": {[]string{"a"}, "\xff\xfe\n\\.\n", "\"a\"\n\"\xff\xfe\"\n", 1},
	} {
		for how, in := range map[string]io.Reader{"": strings.NewReader(test.in), ", byte by byte": iotest.OneByteReader(strings.NewReader(test.in))} {
			var out bytes.Buffer
			rows, err := copytext.CSV(&out, in, test.columns)
			if err != nil || rows != test.rows || out.String() != test.out {
				t.Errorf("%s%s: %d rows, %v\n%q, want\n%q", name, how, rows, err, out.String(), test.out)
			}
		}
		var out bytes.Buffer
		rows, err := copytext.Copy(&out, strings.NewReader(test.in))
		if want := test.in[:strings.LastIndex(test.in, "\\.")]; err != nil || rows != test.rows || out.String() != want {
			t.Errorf("%s: text of %d rows, %v\n%q, want\n%q", name, rows, err, out.String(), want)
		}
	}
}

// What is cut or does not fit is damage, and the row is named.
func TestDamage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		in, want string
		text     bool // seen by Copy as well
	}{
		"empty":             {"", `row 1: the data ends`, true},
		"cut between rows":  {"1\t2\n3\t4\n", `row 3: the data ends`, true},
		"cut in a row":      {"1\t2\n3", `row 2: the data ends`, true},
		"cut in an escape":  {"1\t\\", `row 1: the data ends`, true},
		"cut in a number":   {"1\t\\1", `row 1: the data ends`, true},
		"too few":           {"1\n\\.\n", "row 1: it has 1 values instead of 2", false},
		"too many":          {"1\t2\n1\t2\t3\n\\.\n", "row 2: it has more than 2 values", false},
		"rows behind":       {"1\t2\n\\.\n1\t2\n", "more data follows", true},
		"escaped line feed": {"1\t2\\\n\\.\n", "a backslash stands before its end", false},
	} {
		if _, err := copytext.CSV(io.Discard, strings.NewReader(test.in), []string{"a", "b"}); !errors.Is(err, capstan.ErrDamaged) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := copytext.Copy(io.Discard, strings.NewReader(test.in)); test.text && (!errors.Is(err, capstan.ErrDamaged) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s, as text: %v", name, err)
		}
	}
	if _, err := copytext.CSV(io.Discard, strings.NewReader("x\n\\.\n"), nil); !errors.Is(err, capstan.ErrDamaged) {
		t.Errorf("a value without a column: %v", err)
	}
}

// Errors of both sides are passed on, and no row is held in memory.
func TestStreams(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts those of the whole process
	broken := errors.New("broken")
	if _, err := copytext.CSV(io.Discard, io.MultiReader(strings.NewReader("1"), iotest.ErrReader(broken)), []string{"a"}); !errors.Is(err, broken) {
		t.Errorf("reader: %v", err)
	}
	long := func() io.Reader {
		return io.MultiReader(io.LimitReader(zeros{}, 64<<20), strings.NewReader("\n\\.\n"))
	}
	refuses := func(int) error { return broken }
	if _, err := copytext.CSV(&counter{check: refuses}, long(), []string{"a"}); !errors.Is(err, broken) {
		t.Errorf("writer: %v", err)
	}
	if _, err := copytext.Copy(&counter{check: refuses}, long()); !errors.Is(err, broken) {
		t.Errorf("writer of text: %v", err)
	}
	for _, convert := range []func(io.Writer) (int64, error){
		func(w io.Writer) (int64, error) { return copytext.Copy(w, long()) },
		func(w io.Writer) (int64, error) { return copytext.CSV(w, long(), []string{"a"}) },
	} {
		var out counter
		perRun := testing.AllocsPerRun(1, func() {
			if rows, err := convert(&out); rows != 1 || err != nil {
				t.Errorf("%d rows, %v", rows, err)
			}
		})
		if perRun > 100 || out.largest > 64<<10 || out.total < 128<<20 {
			t.Errorf("%.0f allocations, writes of up to %d bytes, %d in all", perRun, out.largest, out.total)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// counter counts what is written.
type counter struct {
	total, largest int
	check          func(n int) error
}

func (c *counter) Write(p []byte) (int, error) {
	if c.check != nil {
		return 0, c.check(len(p))
	}
	c.total += len(p)
	c.largest = max(c.largest, len(p))
	return len(p), nil
}
