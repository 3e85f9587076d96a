package sets

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/tarfile"
)

const (
	// smallContent is the most that is read whole, before its entry is emitted.
	smallContent = 256 << 10
	// maxItems bounds the entries of a batch.
	maxItems = 4096
	// maxBatches are at work at once: one is emitted while the next is read.
	maxBatches = 2
)

// batch is a run of entries in the walk's order.
type batch struct {
	items []capstan.Item
	wants []want
	lower map[capstan.SetID]capstan.ArchiveNumber // the first archive that it needs of each set
	arena []byte                                  // of the small contents
	taken int
	room  int
}

// want is a small content that is to be read.
type want struct {
	place
	capstan.Location
	item  int // whose it is
	data  []byte
	frame int
}

func (s *Source) newBatch() *batch {
	room := max(int(s.Memory), smallContent)
	var arena []byte
	select {
	case arena = <-s.arenas:
	default:
		arena = make([]byte, room)
	}
	return &batch{items: make([]capstan.Item, 0, 256), lower: map[capstan.SetID]capstan.ArchiveNumber{}, arena: arena, room: room}
}

// recycle gives the memory of a batch back, whose contents nobody uses any more.
func (s *Source) recycle(b *batch) {
	select {
	case s.arenas <- b.arena:
	default:
	}
}

func (b *batch) full() bool {
	return len(b.items) >= maxItems || b.taken+smallContent > b.room
}

// note remembers where reading has come to.
func (b *batch) note(at place) {
	if first, noted := b.lower[at.set]; !noted || at.number < first {
		b.lower[at.set] = at.number
	}
}

// small adds an entry whose content is read with the batch.
func (b *batch) small(e Held, size int) {
	data := b.arena[b.taken : b.taken+size : b.taken+size]
	b.taken += size
	b.wants = append(b.wants, want{place: place{e.Set, e.Archive}, Location: e.Location, item: len(b.items), data: data})
	b.items = append(b.items, capstan.Item{Entry: e.Entry, Data: data})
}

// close gives back the contents of a batch that nobody takes.
func (b *batch) close() {
	for i := range b.items {
		if c := b.items[i].Content; c != nil {
			_ = c.Close() // it holds memory only
		}
	}
}

// fill reads the small contents of a batch: archive after archive, the frames of one in
// parallel. What is damaged is noted in its entry; the error is one that ends the scan.
func (s *Source) fill(ctx context.Context, b *batch) error {
	for set, number := range b.lower {
		s.Library.pass(place{set, number})
	}
	slices.SortFunc(b.wants, func(x, y want) int {
		return cmp.Or(cmp.Compare(x.set, y.set), cmp.Compare(x.number, y.number), cmp.Compare(x.Offset, y.Offset))
	})
	for all := b.wants; len(all) > 0; {
		n := slices.IndexFunc(all, func(w want) bool { return w.place != all[0].place })
		if n < 0 {
			n = len(all)
		}
		if err := s.fromArchive(ctx, b, all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// fromArchive reads what is wanted of one archive.
func (s *Source) fromArchive(ctx context.Context, b *batch, wants []want) error {
	book, err := s.Library.borrow(ctx, wants[0].place)
	if errors.Is(err, capstan.ErrDamaged) {
		for _, w := range wants {
			b.failed(w, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Library.giveBack(book)
	var groups [][]want
	for i := range wants {
		wants[i].frame = book.frameAt(wants[i].Offset)
		if n := len(groups); n > 0 && groups[n-1][0].frame == wants[i].frame {
			groups[n-1] = wants[i-len(groups[n-1]) : i+1]
		} else {
			groups = append(groups, wants[i:i+1])
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(s.Workers, len(groups)) {
		group.Go(func() error {
			var parser tarfile.Parser
			for {
				i := int(next.Add(1)) - 1
				if i >= len(groups) {
					return nil
				}
				if err := s.fromFrame(ctx, b, book, groups[i], &parser); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// fromFrame reads entries that begin in the same frame, one after the other.
func (s *Source) fromFrame(ctx context.Context, b *batch, book *book, wants []want, parser *tarfile.Parser) error {
	in := stream{ctx: ctx, library: s.Library, book: book}
	defer in.let()
	for i := range wants {
		w := &wants[i]
		in.seek(w.Offset)
		err := passHeader(parser, &in, &b.items[w.item].Entry)
		if err == nil {
			_, err = io.ReadFull(&in, w.data)
		}
		if err == nil && sha256.Sum256(w.data) != b.items[w.item].Entry.Hash {
			err = errNotRecorded
		}
		if cause := context.Cause(ctx); cause != nil && err != nil {
			return cause
		}
		if err != nil {
			b.failed(*w, err)
		}
	}
	return nil
}

// failed notes that a content could not be read.
func (b *batch) failed(w want, err error) {
	item := &b.items[w.item]
	fail(&item.Entry, err)
	item.Entry.Reason = "set " + string(w.set) + ": " + item.Entry.Reason
	item.Data = nil
}
