package powerloss_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/internal/capstantest/powerloss"
)

// seeds is how many fates the tests draw where one may not show it.
const seeds = 200

// course is a log in the making.
type course struct {
	t   *testing.T
	buf bytes.Buffer
	out *powerloss.Writer
}

func begin(t *testing.T) *course {
	t.Helper()
	c := &course{t: t}
	c.out = powerloss.NewWriter(&c.buf)
	return c
}

func (c *course) add(r powerloss.Record) {
	c.t.Helper()
	if err := c.out.Append(r); err != nil {
		c.t.Fatal(err)
	}
}

func (c *course) create(dir uint64, name string, node uint64) {
	c.add(powerloss.Record{Kind: powerloss.Create, Node: node, In: powerloss.Entry{Dir: dir, Name: name}, Mode: 0o600})
}

func (c *course) mkdir(dir uint64, name string, node uint64) {
	c.add(powerloss.Record{Kind: powerloss.Mkdir, Node: node, In: powerloss.Entry{Dir: dir, Name: name}, Mode: 0o700})
}

func (c *course) write(node uint64, offset int64, data string) {
	c.add(powerloss.Record{Kind: powerloss.Write, Node: node, Offset: offset, Data: []byte(data)})
}

func (c *course) rename(node, from uint64, name string, to uint64, newName string) {
	c.add(powerloss.Record{Kind: powerloss.Rename, Node: node, In: powerloss.Entry{Dir: from, Name: name}, To: powerloss.Entry{Dir: to, Name: newName}})
}

func (c *course) unlink(dir uint64, name string, node uint64) {
	c.add(powerloss.Record{Kind: powerloss.Unlink, Node: node, In: powerloss.Entry{Dir: dir, Name: name}})
}

func (c *course) sync(node uint64) {
	c.add(powerloss.Record{Kind: powerloss.Sync, Node: node, Before: c.out.Len()})
}

func (c *course) syncDir(node uint64) {
	c.add(powerloss.Record{Kind: powerloss.SyncDir, Node: node, Before: c.out.Len()})
}

func (c *course) log() *powerloss.Log {
	c.t.Helper()
	l, err := powerloss.Read(&c.buf)
	if err != nil {
		c.t.Fatal(err)
	}
	return l
}

// after tells what is there after a loss of power at the end: paths, and contents
// after an equals sign.
func after(t *testing.T, l *powerloss.Log, fate powerloss.Fate) []string {
	t.Helper()
	image, err := l.Cut(l.Len(), fate)
	if err != nil {
		t.Fatal(err)
	}
	memory := "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		memory = ""
	}
	dir, err := os.MkdirTemp(memory, "powerloss") //nolint:usetesting // hundreds of a test
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := image.Write(dir); err != nil {
		t.Fatalf("%+v: %v", fate, err)
	}
	var found []string
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		text := strings.TrimPrefix(path, dir+"/")
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += "=" + string(data)
		}
		found = append(found, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func require(t *testing.T, l *powerloss.Log, fate powerloss.Fate, want ...string) {
	t.Helper()
	if got := after(t, l, fate); !slices.Equal(got, want) {
		t.Errorf("with %+v there is %q, want %q", fate, got, want)
	}
}

// outcomes are all that the fates of a mood leave.
func outcomes(t *testing.T, l *powerloss.Log, fate powerloss.Fate) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for seed := range uint64(seeds) {
		fate.Seed = seed
		all[strings.Join(after(t, l, fate), " ")] = true
	}
	return all
}

func requireOutcomes(t *testing.T, l *powerloss.Log, fate powerloss.Fate, want ...string) {
	t.Helper()
	got := outcomes(t, l, fate)
	for _, one := range want {
		if !got[one] {
			t.Errorf("%+v never leaves %q", fate, one)
		}
		delete(got, one)
	}
	for one := range got {
		t.Errorf("%+v leaves %q", fate, one)
	}
}

var lost = powerloss.Fate{Data: powerloss.None, Names: powerloss.None}

// TestContent: what was synced stays, what came while or after it may go.
func TestContent(t *testing.T) {
	t.Parallel()
	c := begin(t)
	c.create(powerloss.Root, "f", 2)
	c.syncDir(powerloss.Root)
	c.write(2, 0, "one")
	before := c.out.Len()
	c.write(2, 3, "two")
	c.add(powerloss.Record{Kind: powerloss.Sync, Node: 2, Before: before}) // began before the second write
	l := c.log()
	require(t, l, lost, "f=one")
	require(t, l, powerloss.Fate{Data: powerloss.All, Names: powerloss.None}, "f=onetwo")
	require(t, l, powerloss.Fate{Data: powerloss.None, Names: powerloss.None, Grown: true}, "f=one\x00\x00\x00")
	if got := after(t, l, powerloss.Fate{Data: powerloss.None, Grown: true, Noise: true}); len(got[0]) != len("f=onetwo") || got[0] == "f=one\x00\x00\x00" {
		t.Errorf("there is %q, want noise", got)
	}
	if got := string(l.Content(l.Len(), "f")); got != "onetwo" {
		t.Errorf("the file held %q", got)
	}
	if got := string(l.Content(3, "f")); got != "one" {
		t.Errorf("the file held %q at first", got)
	}
}

// TestOrderOfWrites: each unsynced write is lost for itself, whatever came later.
func TestOrderOfWrites(t *testing.T) {
	t.Parallel()
	c := begin(t)
	c.create(powerloss.Root, "f", 2)
	c.syncDir(powerloss.Root)
	c.write(2, 0, "ab")
	c.sync(2)
	c.write(2, 0, "A")
	c.write(2, 1, "B")
	l := c.log()
	requireOutcomes(t, l, powerloss.Fate{Data: powerloss.Each, Names: powerloss.None}, "f=ab", "f=Ab", "f=aB", "f=AB")
	requireOutcomes(t, l, powerloss.Fate{Data: powerloss.One, Names: powerloss.None}, "f=Ab", "f=aB")
}

// TestTorn: a write is torn between sectors only, and in any of them.
func TestTorn(t *testing.T) {
	t.Parallel()
	c := begin(t)
	c.create(powerloss.Root, "f", 2)
	c.syncDir(powerloss.Root)
	c.write(2, 0, strings.Repeat("-", 1536))
	c.sync(2)
	c.write(2, 500, strings.Repeat("x", 536)) // the end of one sector, a whole one, the beginning of a third
	l := c.log()
	seen := map[string]bool{}
	for outcome := range outcomes(t, l, powerloss.Fate{Data: powerloss.Each, Names: powerloss.None}) {
		data := strings.TrimPrefix(outcome, "f=")
		runs := ""
		for _, part := range []string{data[500:512], data[512:1024], data[1024:1036]} {
			if strings.Trim(part, part[:1]) != "" {
				t.Fatalf("a sector is torn: %q", part)
			}
			runs += part[:1]
		}
		if data[:500] != strings.Repeat("-", 500) || data[1036:] != strings.Repeat("-", 500) {
			t.Fatalf("more than was written has changed: %q", data)
		}
		seen[runs] = true
	}
	if len(seen) != 8 {
		t.Errorf("of the eight ways there are %v", seen)
	}
}

// TestNames: a file whose name was not synced is not there, though it was synced
// itself, and a directory takes all along.
func TestNames(t *testing.T) {
	t.Parallel()
	c := begin(t)
	c.mkdir(powerloss.Root, "d", 2)
	c.create(2, "f", 3)
	c.write(3, 0, "x")
	c.sync(3)
	require(t, c.log(), lost)
	c = begin(t)
	c.mkdir(powerloss.Root, "d", 2)
	c.create(2, "f", 3)
	c.sync(3)
	c.syncDir(2)
	require(t, c.log(), lost)
	c = begin(t)
	c.mkdir(powerloss.Root, "d", 2)
	c.syncDir(powerloss.Root)
	c.create(2, "f", 3)
	c.syncDir(2)
	c.unlink(2, "f", 3)
	c.unlink(powerloss.Root, "d", 2)
	l := c.log()
	require(t, l, lost, "d", "d/f=")
	require(t, l, powerloss.Fate{Names: powerloss.All})
	requireOutcomes(t, l, powerloss.Fate{Names: powerloss.Order}, "d d/f=", "d", "")
}

// TestOrderOfNames: with Order, the first operations of a directory are kept.
func TestOrderOfNames(t *testing.T) {
	t.Parallel()
	c := begin(t)
	for i, name := range []string{"a", "b"} {
		c.create(powerloss.Root, name, uint64(2+i))
	}
	l := c.log()
	requireOutcomes(t, l, powerloss.Fate{Names: powerloss.Order}, "", "a=", "a= b=")
	requireOutcomes(t, l, powerloss.Fate{Names: powerloss.Each}, "", "a=", "b=", "a= b=")
}

// TestRename: a file that is renamed is under one of its names, also from one
// directory to another and through several; the sync of either directory makes it
// durable.
func TestRename(t *testing.T) {
	t.Parallel()
	between := func(sync ...uint64) *powerloss.Log {
		c := begin(t)
		c.mkdir(powerloss.Root, "from", 2)
		c.mkdir(powerloss.Root, "to", 3)
		c.syncDir(powerloss.Root)
		c.create(2, "a", 4)
		c.syncDir(2)
		c.rename(4, 2, "a", 3, "b")
		for _, dir := range sync {
			c.syncDir(dir)
		}
		c.rename(4, 3, "b", 3, "c")
		return c.log()
	}
	for _, mood := range []powerloss.Mood{powerloss.Order, powerloss.Each} {
		for _, dir := range []uint64{2, 3} {
			requireOutcomes(t, between(dir), powerloss.Fate{Names: mood}, "from to to/b=", "from to to/c=")
		}
	}
	requireOutcomes(t, between(), powerloss.Fate{Names: powerloss.Order}, "from from/a= to", "from to to/b=", "from to to/c=")
	requireOutcomes(t, between(), powerloss.Fate{Names: powerloss.Each}, "from from/a= to", "from to to/b=", "from to to/c=")
}

// TestReplace: who looks at a file that is replaced sees the old or the new one.
func TestReplace(t *testing.T) {
	t.Parallel()
	c := begin(t)
	c.create(powerloss.Root, "f", 2)
	c.write(2, 0, "old")
	c.sync(2)
	c.syncDir(powerloss.Root)
	c.create(powerloss.Root, "part", 3)
	c.write(3, 0, "new")
	c.sync(3)
	c.rename(3, powerloss.Root, "part", powerloss.Root, "f")
	requireOutcomes(t, c.log(), powerloss.Fate{Data: powerloss.None, Names: powerloss.Order}, "f=old", "f=old part=new", "f=new")
}

// TestWithout leaves syncs out; those that stay cover what they covered.
func TestWithout(t *testing.T) {
	t.Parallel()
	c := begin(t)
	c.create(powerloss.Root, "f", 2)
	c.syncDir(powerloss.Root)
	c.write(2, 0, "one")
	c.sync(2)
	c.write(2, 0, "two")
	c.sync(2)
	c.write(2, 0, "six")
	l := c.log()
	for want, left := range map[string][]int{"f=two": nil, "f=one": {5}, "f=": {3, 5}} {
		require(t, l.Without(func(i int) bool { return slices.Contains(left, i) }), lost, want)
	}
	require(t, l.Without(func(i int) bool { return i == 3 }), lost, "f=two")
}

// TestUnknown: what the model does not know is no result.
func TestUnknown(t *testing.T) {
	t.Parallel()
	c := begin(t)
	c.add(powerloss.Record{Kind: powerloss.Unknown, Node: powerloss.Root, In: powerloss.Entry{Name: "symlink x"}})
	if _, err := c.log().Cut(1, lost); err == nil || !strings.Contains(err.Error(), "symlink x") {
		t.Errorf("it gives %v", err)
	}
}

// TestTell: what was lost is told, and the same fate gives the same image.
func TestTell(t *testing.T) {
	t.Parallel()
	c := begin(t)
	c.mkdir(powerloss.Root, "d", 2)
	c.create(2, "f", 3)
	c.write(3, 0, "x")
	c.rename(3, 2, "f", powerloss.Root, "g")
	l := c.log()
	image, err := l.Cut(l.Len(), lost)
	if err != nil {
		t.Fatal(err)
	}
	want := "0 mkdir d: lost\n1 create d/f: lost\n3 rename g from f: lost\n2 write d/f 0+1: lost"
	if got := image.Tell(9); got != want {
		t.Errorf("it tells %q, want %q", got, want)
	}
	if got := image.Tell(1); got != "… and 3 more\n2 write d/f 0+1: lost" {
		t.Errorf("in short it tells %q", got)
	}
	fate := powerloss.Fate{Seed: 5, Data: powerloss.Each, Names: powerloss.Each}
	for range 3 {
		if a, b := fmt.Sprint(after(t, l, fate)), fmt.Sprint(after(t, l, fate)); a != b {
			t.Errorf("once %s, once %s", a, b)
		}
	}
}
