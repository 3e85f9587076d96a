package emulator

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"capstan"
)

// image gives the bytes of a cartridge in memory.
func image(t testing.TB, c *Cartridge) []byte {
	t.Helper()
	p := make([]byte, c.tape.end)
	if _, err := c.tape.store.ReadAt(p, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return p
}

// from opens an image that lies in memory.
func from(t testing.TB, content []byte) *Cartridge {
	t.Helper()
	m := &memory{}
	if _, err := m.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	opened, err := openTape(m)
	if err != nil {
		t.Fatal(err)
	}
	return &Cartridge{tape: opened, synced: opened.count}
}

// put writes blocks, and filemarks for empty ones.
func put(t testing.TB, c *Cartridge, objects ...string) {
	t.Helper()
	for _, o := range objects {
		if err := c.tape.append([]byte(o), false); err != nil {
			t.Fatal(err)
		}
	}
}

func layout(t testing.TB, c *Cartridge) string {
	t.Helper()
	sizes, err := c.Layout()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(sizes)
}

// TestFormat: the bytes of an image are those of the format's description.
func TestFormat(t *testing.T) {
	t.Parallel()
	c := Blank(0, 0)
	put(t, c, "abc", "", "wxyz")
	const want = "03000000" + "61626300" + "03000000" + // padded to an even length
		"00000000" +
		"04000000" + "7778797a" + "04000000"
	if got := hex.EncodeToString(image(t, c)); got != want {
		t.Errorf("image %s\nwant  %s", got, want)
	}
}

// TestForeignImages: what other programs write is read.
func TestForeignImages(t *testing.T) {
	t.Parallel()
	const (
		block = "02000000" + "6162" + "02000000"
		mark  = "00000000"
		bad   = "02000080" + "6162" + "02000080"
		gap   = "feffffff"
		end   = "ffffffff"
	)
	for _, test := range []struct{ name, image, want string }{
		{"end of medium", block + mark + end + block, "[2 0]"},
		{"two filemarks at the end", block + mark + mark, "[2 0 0]"},
		{"gaps", gap + gap + block + gap + mark + gap + block + gap, "[2 0 2]"},
		{"bad block", block + bad + mark, "[2 2 0]"},
		{"unknown class", block + "02000010" + "6162" + "02000010", "[2]"},
		{"bad block of no length", block + "00000080", "[2]"},
		{"lengths that differ", block + "02000000" + "6162" + "03000000", "[2]"},
		{"length beyond the file", block + "ffffff00" + "6162", "[2]"},
		{"nothing", "", "[]"},
	} {
		content, err := hex.DecodeString(test.image)
		if err != nil {
			t.Fatal(err)
		}
		c := from(t, content)
		if got := layout(t, c); got != test.want {
			t.Errorf("%s: objects %s, want %s", test.name, got, test.want)
		}
		put(t, c, "new") // behind the end of data, whatever was there
		again := from(t, image(t, c))
		if got, want := layout(t, again), layout(t, c); got != want || again.Objects() != c.Objects() {
			t.Errorf("%s: %s after writing, %s when opened again", test.name, want, got)
		}
	}
	content, _ := hex.DecodeString(bad + mark)
	d := NewDrive()
	d.Insert(from(t, content))
	if sense := d.TestReady(); sense == nil || sense.Key != UnitAttention {
		t.Errorf("the first command after a new cartridge is answered by %v", sense)
	}
	if n, sense := d.Read(make([]byte, 2)); n != 0 || sense == nil || sense.Key != MediumError {
		t.Errorf("a bad block gave %d bytes and %v, want a medium error", n, sense)
	}
}

// TestCutImage: an image that ends anywhere is one of whole objects, and goes on there.
func TestCutImage(t *testing.T) {
	t.Parallel()
	whole := Blank(0, 0)
	put(t, whole, "abc", "", "wxyz", "q", "", "")
	content := image(t, whole)
	ends := map[int64]int64{0: 0} // where objects end, and how many there are then
	for i := range whole.Objects() {
		o, err := whole.tape.find(i)
		if err != nil {
			t.Fatal(err)
		}
		ends[o.end()] = i + 1
	}
	var objects int64
	for cut := range len(content) + 1 {
		if n, is := ends[int64(cut)]; is {
			objects = n
		}
		c := from(t, content[:cut])
		if c.Objects() != objects {
			t.Fatalf("cut at byte %d: %d objects, want %d", cut, c.Objects(), objects)
		}
		put(t, c, "further")
		if again := from(t, image(t, c)); again.Objects() != objects+1 {
			t.Fatalf("cut at byte %d and written on: %d objects, want %d", cut, again.Objects(), objects+1)
		}
	}
}

// TestManyObjects: any object is found among more than are remembered, also after cuts.
func TestManyObjects(t *testing.T) {
	t.Parallel()
	c := Blank(0, 0)
	const count = 5*stride + 7
	name := func(i int64) string {
		if i%17 == 0 {
			return ""
		}
		return fmt.Sprint("object ", i)
	}
	for i := range int64(count) {
		put(t, c, name(i))
	}
	check := func(c *Cartridge, i int64) {
		t.Helper()
		o, err := c.tape.find(i)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, o.length)
		if err := c.tape.read(o, p); err != nil || string(p) != name(i) {
			t.Fatalf("object %d is %q (%v), want %q", i, p, err, name(i))
		}
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same each time
	for _, n := range []int64{count, 3*stride + 1, 3 * stride, 3*stride - 1, stride, 5, 0} {
		if err := c.tape.cut(n); err != nil {
			t.Fatal(err)
		}
		opened := from(t, image(t, c))
		if c.Objects() != n || opened.Objects() != n || len(opened.tape.known) != len(c.tape.known) {
			t.Fatalf("cut to %d objects: %d, and %d when opened", n, c.Objects(), opened.Objects())
		}
		for range min(n, 500) {
			i := random.Int64N(n)
			check(c, i)
			check(opened, i)
		}
		if _, err := c.tape.find(n); !errors.Is(err, io.EOF) {
			t.Fatalf("object %d of %d: %v", n, n, err)
		}
	}
}

func TestImageFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "TP20261101.tap")
	c, err := Create(path, capstan.MiB, 0)
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "abc", "")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, 0, 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a cartridge was made where there is one: %v", err)
	}
	if _, err := Open(path+".none", 0, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a cartridge was opened that is not there: %v", err)
	}
	c, err = Open(path, capstan.MiB, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := layout(t, c); got != "[3 0]" {
		t.Errorf("objects %s", got)
	}
	content, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(content, image(t, c)) {
		t.Errorf("the file differs from the image: %v", err)
	}
}

// FuzzImage: no image leads out of its bounds, and what is written behind one is found
// again.
func FuzzImage(f *testing.F) {
	f.Add([]byte{3, 0, 0, 0, 'a', 'b', 'c', 0, 3, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0xFE, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0x80, 'a', 'b', 2, 0, 0, 0x80})
	f.Fuzz(func(t *testing.T, content []byte) {
		c := from(t, content)
		before := layout(t, c)
		objects := c.Objects()
		put(t, c, "block", "")
		again := from(t, image(t, c))
		if again.Objects() != objects+2 || layout(t, again) != layout(t, c) {
			t.Fatalf("%s became %s, and %s when opened again", before, layout(t, c), layout(t, again))
		}
	})
}
