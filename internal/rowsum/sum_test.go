package rowsum

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"capstan"
)

func sumOf(rows ...string) (s Sum) {
	for _, row := range rows {
		s.Row([]byte(row))
	}
	return s
}

// Order does not matter; everything else does.
func TestSum(t *testing.T) {
	t.Parallel()
	base := sumOf("a\n", "b\n", "b\n")
	if other := sumOf("b\n", "a\n", "b\n"); other != base {
		t.Error("the order matters")
	}
	for name, other := range map[string]Sum{
		"a row less": sumOf("a\n", "b\n"), "a duplicate less": sumOf("a\n"), "a duplicate pair more": sumOf("a\n", "b\n", "b\n", "b\n", "b\n"),
		"an empty row more": sumOf("a\n", "b\n", "b\n", "\n"), "another split": sumOf("a\nb\n", "b\n"), "none": {}, "a changed byte": sumOf("a\n", "b\n", "c\n"),
	} {
		if other == base {
			t.Errorf("%s is not seen", name)
		}
	}
	parts := sumOf("a\n")
	parts.Add(sumOf("b\n", "b\n"))
	if parts != base {
		t.Error("sums of parts do not add up")
	}
	// What is written stays readable by later versions: the method is xxh3's, fixed.
	if got := sumOf("a\n", "b\n").String(); got != golden {
		t.Errorf("%s, want %s", got, golden)
	}
}

// golden is the sum of "a\n" and "b\n", added up of what the stock xxh128sum prints.
const golden = "29481bc8e5ecd31b435be203bbbd4262"

func TestSumAsText(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	for range 1000 {
		s := Sum{random.Uint64() >> random.IntN(64), random.Uint64() >> random.IntN(64)}
		var back Sum
		if err := back.UnmarshalText([]byte(s.String())); err != nil || back != s {
			t.Fatalf("seed %d: %v is read as %v, %v", seed, s, back, err)
		}
	}
	for _, wrong := range []string{"", "00", strings.Repeat("g", 32), strings.Repeat("0", 33)} {
		if err := new(Sum).UnmarshalText([]byte(wrong)); err == nil {
			t.Errorf("%q is a sum", wrong)
		}
	}
}

// Rows that come in pieces, of whatever length, have the sum of whole ones.
func TestLongRows(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 2))
	long := NewLong()
	for _, length := range []int{0, 1, 16, 17, 128, 129, 240, 241, 1024, 1025, bufferSize - 1, bufferSize, bufferSize + 1, 5*bufferSize + 3} {
		row := bytes.Repeat([]byte("0123456789abcdefg"), length/17+1)[:length]
		row = append(row, '\n')
		var whole, pieces Sum
		whole.Row(row)
		for rest := row; len(rest) > 0; {
			n := 1 + random.IntN(len(rest))
			long.Piece(rest[:n])
			rest = rest[n:]
		}
		long.End(&pieces)
		if whole != pieces {
			t.Errorf("seed %d: a row of %d bytes", seed, len(row))
		}
		text, rows, err := Text(iotest.HalfReader(bytes.NewReader(append(row, "x\n\\.\n\n\n"...))))
		whole.Row([]byte("x\n"))
		if err != nil || rows != 2 || text != whole {
			t.Errorf("a row of %d bytes as text: %d rows, %v", len(row), rows, err)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text  string
		rows  int64
		whole bool
	}{
		{"\\.\n\n\n", 0, true},
		{"a\nb\n\\.\n\n\n", 2, true},
		{"\n\n\\.\n", 2, true}, // a table without columns
		{"a\n\\.x\n\\.\n\n\n", 2, true},
		{"", 0, false},
		{"a\nb\n", 2, false},
		{"a\nb", 1, false},
		{"a\n\\.", 1, false},
		{"a\n\\.\n\n\nb\n", 1, false},
		{"a\n" + strings.Repeat("x", 2*bufferSize), 1, false},
		{"a\n\\.\n" + strings.Repeat("\n", 2*bufferSize) + "x", 1, false},
	} {
		_, rows, err := Text(strings.NewReader(test.text))
		if rows != test.rows || (err == nil) != test.whole || err != nil && !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%.40q: %d rows, %v", test.text, rows, err)
		}
	}
	broken := errors.New("the disk")
	if _, rows, err := Text(io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(broken))); rows != 1 || !errors.Is(err, broken) {
		t.Errorf("%d rows, %v", rows, err)
	}
	if _, _, err := Text(io.MultiReader(strings.NewReader("\\.\n"), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("an error behind the mark: %v", err)
	}
}

// BenchmarkRow says what a sum costs beside the compression, about 2 ns a byte.
func BenchmarkRow(b *testing.B) {
	for _, length := range []int{20, 100, 500, 8000} {
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			data := bytes.Repeat([]byte("0123456789abcdefg"), 1<<16)
			var s Sum
			b.SetBytes(int64(length))
			for i := 0; b.Loop(); i = (i + length) % (1 << 20) {
				s.Row(data[i : i+length])
			}
		})
	}
}
