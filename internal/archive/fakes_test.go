package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"capstan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var codecs = []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip, capstan.CodecNone}

// memorySink keeps archives in memory and checks the order of calls.
type memorySink struct {
	t        testing.TB
	files    []*bytes.Buffer // by number, from 1
	sealed   []capstan.Archive
	entries  []capstan.Entry
	open     bool
	first    capstan.ArchiveNumber // number of the first archive; 0 for 1
	failAt   string                // "begin", "write", "entries", "sealed"
	failures int                   // calls of it that succeed before
	block    chan struct{}         // when not nil, writes wait for it or ctx
}

var errSink = errors.New("the sink fails")

func (s *memorySink) fail(at string) error {
	if s.failAt != at {
		return nil
	}
	s.failures--
	if s.failures >= 0 {
		return nil
	}
	return errSink
}

func (s *memorySink) Begin(ctx context.Context) (capstan.ArchiveNumber, io.Writer, error) {
	if s.open {
		s.t.Error("Begin before the last archive is sealed")
	}
	s.open = true
	s.files = append(s.files, &bytes.Buffer{})
	s.first = max(s.first, 1)
	return s.first + capstan.ArchiveNumber(len(s.files)) - 1, &sinkWriter{s, ctx}, s.fail("begin")
}

type sinkWriter struct {
	s   *memorySink
	ctx context.Context //nolint:containedctx // the life of an archive
}

func (w *sinkWriter) Write(p []byte) (int, error) {
	if w.s.block != nil {
		select {
		case <-w.s.block:
		case <-w.ctx.Done():
			return 0, context.Cause(w.ctx)
		}
	}
	if err := w.s.fail("write"); err != nil {
		return len(p) / 2, err
	}
	return w.s.files[len(w.s.files)-1].Write(p)
}

func (s *memorySink) Entries(_ context.Context, entries []capstan.Entry) error {
	s.entries = append(s.entries, entries...)
	return s.fail("entries")
}

func (s *memorySink) Sealed(_ context.Context, a capstan.Archive) error {
	s.open = false
	file := s.files[len(s.files)-1].Bytes()
	if a.Size != int64(len(file)) || a.Hash != sha256.Sum256(file) || a.Number != s.first+capstan.ArchiveNumber(len(s.files))-1 {
		s.t.Errorf("archive %d is told as %+v, has %d bytes", len(s.files), a, len(file))
	}
	s.sealed = append(s.sealed, a)
	return s.fail("sealed")
}

// file is the content of an archive.
func (s *memorySink) file(number capstan.ArchiveNumber) []byte {
	return s.files[number-s.first].Bytes()
}

func (s *memorySink) reader(t testing.TB, number capstan.ArchiveNumber, c capstan.Codec) *Reader {
	t.Helper()
	b := s.file(number)
	r, err := OpenReader(bytes.NewReader(b), int64(len(b)), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Damage() != nil {
		t.Errorf("the index of archive %d: %v", number, r.Damage())
	}
	return r
}

// ledger counts what contents do.
type ledger struct {
	mu   sync.Mutex
	open int
	bad  []string
}

func (l *ledger) check(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open != 0 {
		t.Errorf("%d contents are not closed", l.open)
	}
	for _, b := range l.bad {
		t.Error(b)
	}
}

func (l *ledger) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad = append(l.bad, fmt.Sprintf(format, args...))
}

// fakeContent gives data in reads of odd sizes.
type fakeContent struct {
	ledger  *ledger
	data    []byte
	fail    error // after data
	drift   string
	closeIs error
	block   <-chan struct{} // when not nil, reads wait for it
	most    int             // bytes a read gives at most
	busy    bool
	closed  bool
	at      int
}

func (c *fakeContent) Read(p []byte) (int, error) {
	c.ledger.mu.Lock()
	if c.busy || c.closed {
		c.ledger.bad = append(c.ledger.bad, "Read during Read or after Close")
	}
	c.busy = true
	c.ledger.mu.Unlock()
	defer func() {
		c.ledger.mu.Lock()
		c.busy = false
		c.ledger.mu.Unlock()
	}()
	if c.block != nil {
		<-c.block
	}
	if c.most > 0 {
		p = p[:min(len(p), c.most)]
	}
	n := copy(p, c.data[c.at:])
	c.at += n
	if c.at == len(c.data) {
		if c.fail != nil {
			return n, c.fail
		}
		if n == 0 {
			return 0, io.EOF
		}
	}
	return n, nil
}

func (c *fakeContent) Drift() string {
	if c.closed {
		c.ledger.complain("Drift after Close")
	}
	return c.drift
}

func (c *fakeContent) Close() error {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	if c.closed {
		c.ledger.bad = append(c.ledger.bad, "closed twice")
	}
	c.closed = true
	c.ledger.open--
	return c.closeIs
}

func (l *ledger) content(data []byte) *fakeContent {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	return &fakeContent{ledger: l, data: data}
}

// noise is n bytes that do not compress, text n bytes that do.
func noise(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%x said the %d to the %o\n", r.Uint32N(50), r.Uint32N(500), r.Uint32N(5000))
	}
	return b.Bytes()[:n]
}

// thing is an entry to be packed with its stored content.
type thing struct {
	entry   capstan.Entry
	data    []byte
	content bool // goes in as Content instead of Data
}

func at(sec, nsec int64) time.Time { return time.Unix(sec, nsec).UTC() }

func file(path string, data []byte, content bool) thing {
	return thing{capstan.Entry{
		Path: path, Kind: capstan.KindFile, Mode: 0o644, UID: 1000, GID: 100, User: "someone", Group: "users",
		ModTime: at(1_700_000_000, 123_456_789), Size: int64(len(data)),
	}, data, content}
}

// item makes what a source would emit.
func (t *thing) item(l *ledger) *capstan.Item {
	item := &capstan.Item{Entry: t.entry}
	switch {
	case t.content:
		item.Content = l.content(t.data)
	case t.entry.HasContent():
		item.Data = t.data
		item.Entry.Hash = sha256.Sum256(t.data)
	}
	return item
}

// mixed is things of all kinds and sizes; the larger ones are Contents.
func mixed(seed uint64, count int) []thing {
	r := rand.New(rand.NewPCG(seed, 2))
	things := []thing{{entry: capstan.Entry{Path: "t", Kind: capstan.KindDir, Mode: 0o755, ModTime: at(1, 0)}}}
	for i := range count {
		path := fmt.Sprintf("t/%05d", i)
		switch r.IntN(10) {
		case 0:
			things = append(things, thing{entry: capstan.Entry{Path: path, Kind: capstan.KindSymlink, Link: "somewhere", ModTime: at(5, 5)}})
		case 1:
			things = append(things, thing{entry: capstan.Entry{Path: path, Kind: capstan.KindDir, Mode: 0o700, ModTime: at(5, 5)}})
		case 2:
			things = append(things, file(path, nil, r.IntN(2) == 0))
		case 3:
			things = append(things, file(path, noise(seed+uint64(i), r.IntN(200_000)), true))
		case 4:
			things = append(things, sparse(path, seed+uint64(i)))
		case 5:
			things = append(things, file(path, text(seed+uint64(i), r.IntN(700_000)), true))
		default:
			things = append(things, file(path, text(seed+uint64(i), r.IntN(20_000)), false))
		}
	}
	return things
}

// sparse is a file with holes.
func sparse(path string, seed uint64) thing {
	r := rand.New(rand.NewPCG(seed, 3))
	f := file(path, nil, true)
	f.entry.Sparse = true
	off := int64(0)
	for range r.IntN(20) {
		x := capstan.Extent{Offset: off + 4096*int64(1+r.IntN(5)), Length: 512 * int64(1+r.IntN(40))}
		f.entry.Data = append(f.entry.Data, x)
		off = x.Offset + x.Length
	}
	f.entry.Size = off + int64(r.IntN(10_000))
	f.data = text(seed, int(f.entry.StoredSize()))
	return f
}

// packAll packs things and closes the packer.
func packAll(t testing.TB, options Options, things []thing) *memorySink {
	t.Helper()
	sink := &memorySink{t: t}
	l := &ledger{}
	p := NewPacker(t.Context(), options, sink)
	for i := range things {
		if err := p.Add(t.Context(), things[i].item(l)); err != nil {
			t.Fatalf("%q: %v", things[i].entry.Path, err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.check(t)
	return sink
}

// readBack reads every entry of sink and compares it with things, which must be
// in the same order, all stored.
func readBack(t testing.TB, sink *memorySink, c capstan.Codec, things []thing, workers int) {
	t.Helper()
	if len(sink.entries) != len(things) {
		t.Fatalf("%d entries instead of %d", len(sink.entries), len(things))
	}
	byPath := map[string][]byte{}
	perArchive := map[capstan.ArchiveNumber][]capstan.Entry{}
	for i := range things {
		want, got := &things[i], &sink.entries[i]
		if got.Path != want.entry.Path || got.Outcome != capstan.OutcomeStored || got.Reason != "" || got.Host != want.entry.Host {
			t.Errorf("entry %d is %q, %v (%s), instead of %q", i, got.Path, got.Outcome, got.Reason, want.entry.Path)
		}
		if got.HasContent() && got.Hash != sha256.Sum256(want.data) {
			t.Errorf("%q: wrong hash", got.Path)
		}
		if len(got.Parts) == 0 {
			byPath[got.Path] = want.data
			perArchive[got.Archive] = append(perArchive[got.Archive], *got)
			continue
		}
		rest := want.data
		for j := range got.Parts {
			part := PartEntry(got, j)
			byPath[part.Path], rest = rest[:part.Location.Size], rest[part.Location.Size:]
			perArchive[part.Archive] = append(perArchive[part.Archive], part)
		}
		if len(rest) != 0 {
			t.Errorf("%q: parts lack %d bytes", got.Path, len(rest))
		}
	}
	for number, entries := range perArchive {
		var mu sync.Mutex
		count := 0
		r := sink.reader(t, number, c)
		err := r.Extract(t.Context(), entries, workers, 0, func(_ context.Context, x *Extracted) error {
			data, err := io.ReadAll(x.Content)
			if err != nil || x.Err != nil || !bytes.Equal(data, byPath[x.Entry.Path]) {
				t.Errorf("%q: %d bytes, %v, %v", x.Entry.Path, len(data), err, x.Err)
			}
			mu.Lock()
			defer mu.Unlock()
			count++
			return nil
		})
		if err != nil || count != len(entries) {
			t.Errorf("archive %d: %d of %d entries, %v", number, count, len(entries), err)
		}
	}
	for _, a := range sink.sealed {
		if n := int(a.Entries); n != len(perArchive[a.Number]) {
			t.Errorf("archive %d is told to have %d entries, has %d", a.Number, n, len(perArchive[a.Number]))
		}
		if r := sink.reader(t, a.Number, c); r.TarSize() != a.TarSize {
			t.Errorf("archive %d is told to hold %d bytes, holds %d", a.Number, a.TarSize, r.TarSize())
		}
	}
}
