package archive

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/tarfile"
)

// Contents that fail, shrink, grow or vanish.
func TestTroubledContents(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	data := text(1, 1_200_000)
	tests := map[string]struct {
		change  func(*fakeContent)
		outcome capstan.Outcome
		reason  string
		stored  int // of the bytes of data
	}{
		"fine":            {func(*fakeContent) {}, capstan.OutcomeStored, "", len(data)},
		"small reads":     {func(c *fakeContent) { c.most = 777 }, capstan.OutcomeStored, "", len(data)},
		"shrank":          {func(c *fakeContent) { c.data = c.data[:234_567] }, capstan.OutcomeChanged, "ended after 234567 of 1200000 bytes; the rest is stored as zeros", 234_567},
		"shrank, told":    {func(c *fakeContent) { c.data, c.drift = c.data[:10], "shrank" }, capstan.OutcomeChanged, "shrank; the rest is stored as zeros", 10},
		"shrank to none":  {func(c *fakeContent) { c.data = nil }, capstan.OutcomeChanged, "ended after 0 of", 0},
		"grew":            {func(c *fakeContent) { c.data, c.drift = append(bytes.Clone(c.data), "more"...), "grew" }, capstan.OutcomeChanged, "grew", len(data)},
		"touched":         {func(c *fakeContent) { c.drift = "its time changed" }, capstan.OutcomeChanged, "its time changed", len(data)},
		"fails":           {func(c *fakeContent) { c.data, c.fail = c.data[:200_000], broken }, capstan.OutcomeFailed, "input/output error; the last 1000000 of 1200000 bytes are stored as zeros", 200_000},
		"fails at once":   {func(c *fakeContent) { c.data, c.fail = nil, broken }, capstan.OutcomeFailed, "input/output error", 0},
		"fails in peek":   {func(c *fakeContent) { c.data, c.fail = c.data[:5000], broken }, capstan.OutcomeFailed, "input/output error", 5000},
		"fails to close":  {func(c *fakeContent) { c.closeIs = broken }, capstan.OutcomeFailed, "input/output error", len(data)},
		"vanished":        {func(c *fakeContent) { c.data, c.fail = nil, fs.ErrNotExist }, capstan.OutcomeVanished, "gone before it was read", 0},
		"vanishes later":  {func(c *fakeContent) { c.data, c.fail = c.data[:99_999], fs.ErrNotExist }, capstan.OutcomeFailed, "file does not exist", 99_999},
		"error after all": {func(c *fakeContent) { c.fail = broken }, capstan.OutcomeFailed, "input/output error", len(data)},
	}
	for name, tt := range tests {
		for _, options := range []Options{
			{Codec: capstan.CodecZstd, Workers: 3, FrameSize: 80_000},
			{Codec: capstan.CodecGzip, Workers: 1},
			{Codec: capstan.CodecNone, Workers: 2, ArchiveSize: 400_000},
		} {
			l, sink := &ledger{}, &memorySink{t: t}
			p := NewPacker(t.Context(), options, sink)
			f := file("f", data, true)
			c := l.content(data)
			tt.change(c)
			item := &capstan.Item{Entry: f.entry, Content: c}
			after := file("g", []byte("after"), false)
			for _, item := range []*capstan.Item{item, after.item(l)} {
				if err := p.Add(t.Context(), item); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.check(t)
			e := sink.entries[0]
			if e.Outcome != tt.outcome || !strings.HasPrefix(e.Reason, tt.reason) || (tt.reason == "") != (e.Reason == "") {
				t.Errorf("%s, %s: outcome %v, %q", name, options.Codec, e.Outcome, e.Reason)
			}
			want := make([]byte, len(data))
			copy(want, data[:tt.stored])
			sink.entries[0].Outcome, sink.entries[0].Reason = capstan.OutcomeStored, ""
			readBack(t, sink, options.Codec, []thing{file("f", want, true), after}, 1)
		}
	}
}

// Entries that cannot be stored are told as failed, and cost nothing else.
func TestRefusedEntries(t *testing.T) {
	t.Parallel()
	l, sink := &ledger{}, &memorySink{t: t}
	p := NewPacker(t.Context(), Options{Codec: capstan.CodecZstd}, sink)
	bad := []thing{
		file("a/../b", []byte("x"), false), file("", []byte("x"), true), file("x\x00y", text(1, 2_000_000), true),
		{entry: capstan.Entry{Path: "s", Kind: capstan.KindSocket}},
	}
	good := file("good", []byte("y"), false)
	all := append(append([]thing{}, bad[:3]...), good)
	all = append(all, bad[3:]...)
	for i := range all {
		if err := p.Add(t.Context(), all[i].item(l)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.check(t)
	if len(sink.entries) != len(all) || len(sink.sealed) != 1 || sink.sealed[0].Entries != 1 {
		t.Fatalf("%d entries, %+v", len(sink.entries), sink.sealed)
	}
	for i, e := range sink.entries {
		if e.Path != all[i].entry.Path {
			t.Errorf("entry %d is %q instead of %q", i, e.Path, all[i].entry.Path)
		}
		if e.Path == "good" {
			if e.Outcome != capstan.OutcomeStored || e.Archive != 1 {
				t.Errorf("%+v", e)
			}
		} else if e.Outcome != capstan.OutcomeFailed || e.Reason == "" || e.Location != (capstan.Location{}) || !e.Hash.IsZero() {
			t.Errorf("%q: %v, %q, %+v", e.Path, e.Outcome, e.Reason, e.Location)
		}
	}
}

// Only refused entries: they are delivered though there is no archive.
func TestOnlyRefused(t *testing.T) {
	t.Parallel()
	l, sink := &ledger{}, &memorySink{t: t}
	p := NewPacker(t.Context(), Options{Codec: capstan.CodecGzip}, sink)
	bad := file("..", []byte("x"), true)
	if err := errors.Join(p.Add(t.Context(), bad.item(l)), p.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	l.check(t)
	if len(sink.entries) != 1 || len(sink.files) != 0 {
		t.Errorf("%d entries, %d archives", len(sink.entries), len(sink.files))
	}
}

// A source's mistakes end the run instead of storing nonsense.
func TestContradictions(t *testing.T) {
	t.Parallel()
	f := file("f", []byte("abc"), false)
	tests := map[string]func(*capstan.Item, *ledger){
		"short data":       func(i *capstan.Item, _ *ledger) { i.Data = i.Data[:2] },
		"no data":          func(i *capstan.Item, _ *ledger) { i.Data = nil },
		"data and content": func(i *capstan.Item, l *ledger) { i.Content = l.content(nil) },
		"content of a dir": func(i *capstan.Item, l *ledger) {
			i.Entry.Kind, i.Data, i.Content = capstan.KindDir, nil, l.content(nil)
		},
		"outcome": func(i *capstan.Item, l *ledger) { i.Entry.Outcome = capstan.OutcomeExcluded },
	}
	for name, change := range tests {
		l, sink := &ledger{}, &memorySink{t: t}
		p := NewPacker(t.Context(), Options{Codec: capstan.CodecZstd}, sink)
		item := f.item(l)
		change(item, l)
		err := p.Add(t.Context(), item)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if closeErr := p.Close(t.Context()); !errors.Is(closeErr, err) {
			t.Errorf("%s: Add gave %v, Close %v", name, err, closeErr)
		}
		l.check(t)
	}
}

// Names that look like those of parts are refused beside the split file alone.
func TestNamesOfParts(t *testing.T) {
	t.Parallel()
	big := text(1, 300_000)
	long := strings.Repeat("é", 120) + "-long"
	things := []thing{
		file("a/f.capstan-part-0001", []byte("before"), true),
		file("b/f", big, true), file("b/f.capstan-part-0002", []byte("x"), true), file("b/f.capstan-part-0002x", []byte("x"), true),
		file("c/f.capstan-part-0001", []byte("elsewhere"), true),
		{entry: capstan.Entry{Path: "c/g.capstan-part-0001", Kind: capstan.KindDir, Mode: 0o755}},
		file("d/"+long, big, true),
		file(tarfile.PartName("d/"+long, 1), []byte("x"), true),
		file(tarfile.PartStem("d/"+long), big, true),
	}
	refused := map[int]bool{2: true, 7: true, 8: true}
	l, sink := &ledger{}, &memorySink{t: t}
	options := Options{Codec: capstan.CodecZstd, ArchiveSize: 100 << 10}
	p := NewPacker(t.Context(), options, sink)
	for i := range things {
		if err := p.Add(t.Context(), things[i].item(l)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.check(t)
	var kept []capstan.Entry
	var good []thing
	for i, e := range sink.entries {
		if failed := e.Outcome == capstan.OutcomeFailed; failed != refused[i] || failed && !strings.Contains(e.Reason, "rename") {
			t.Errorf("%q: %v, %q", e.Path, e.Outcome, e.Reason)
		}
		if !refused[i] {
			kept, good = append(kept, e), append(good, things[i])
		}
	}
	for _, e := range kept {
		for i := range e.Parts {
			part := PartEntry(&e, i).Path
			stem, n, ok := tarfile.ParsePartName(part)
			if base := part[strings.LastIndex(part, "/")+1:]; len(base) > 255 || !ok || n != i+1 || stem != tarfile.PartStem(e.Path) {
				t.Errorf("%q has %d bytes, and is part %d of %q", part, len(base), n, stem)
			}
		}
	}
	sink.entries = kept
	readBack(t, sink, options.Codec, good, 2)
}

// A file that would have more parts than a manifest takes is refused unread.
func TestTooManyParts(t *testing.T) {
	t.Parallel()
	l, sink := &ledger{}, &memorySink{t: t}
	p := NewPacker(t.Context(), Options{Codec: capstan.CodecNone, ArchiveSize: MinArchive}, sink)
	huge := file("huge", nil, true)
	huge.entry.Size = int64(MinArchive) * maxParts
	if err := p.Add(t.Context(), huge.item(l)); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.check(t)
	if e := sink.entries[0]; e.Outcome != capstan.OutcomeFailed || !strings.Contains(e.Reason, "archive size") || len(sink.sealed) != 0 {
		t.Errorf("%v, %q, %d archives", e.Outcome, e.Reason, len(sink.sealed))
	}
}
