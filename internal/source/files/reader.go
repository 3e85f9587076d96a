package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"capstan"
	"capstan/internal/digest"
)

// readAttempts is how often a small file is read anew when it changes meanwhile.
const readAttempts = 3

// reader is what one goroutine of a scan works with. It is not shared, but for
// its station.
type reader struct {
	run      *run
	station  *station
	names    owners
	attrs    attrReader
	filler   filler
	dirents  []byte
	contents [][]byte // scratch
	bytes    int      // of content, not yet told to the hook
	noatime  bool     // worth trying; denied for the files of others
}

func (r *run) newReader() *reader {
	rd := &reader{run: r, station: &station{}, filler: filler{arena: &r.arena}}
	r.src.mu.Lock()
	r.src.stations = append(r.src.stations, rd.station)
	r.src.mu.Unlock()
	return rd
}

// serve reads chunks until the channel is closed or ctx ends.
func (rd *reader) serve(ctx context.Context, work <-chan *chunk) {
	defer rd.filler.drop()
	for {
		select {
		case c, ok := <-work:
			if !ok {
				return
			}
			if c.take() {
				rd.process(ctx, c)
			}
		case <-ctx.Done():
			return
		}
	}
}

// process reads the items of a chunk that was taken, and finishes it. Once ctx
// has ended it leaves the rest unread; nobody emits them then.
func (rd *reader) process(ctx context.Context, c *chunk) {
	rd.noatime = true
	for i := range c.items {
		it := &c.items[i]
		if it.folder == nil {
			continue
		}
		if ctx.Err() == nil {
			rd.station.at(it.host)
			rd.fill(it)
		}
		it.folder.release()
		it.folder = nil
	}
	rd.hash(c)
	rd.station.at("")
	n := rd.bytes
	rd.bytes = 0
	surplus := c.cost - c.actual()
	c.cost -= surplus
	if !c.finish() {
		c.drop(0)
		return
	}
	rd.run.budget.release(surplus)
	if hook := rd.run.opt.Hooks.Bytes; hook != nil && n > 0 {
		hook(n)
	}
}

// hash hashes the small contents of a chunk together.
func (rd *reader) hash(c *chunk) {
	data := rd.contents[:0]
	for i := range c.items {
		if c.items[i].unhashed {
			data = append(data, c.items[i].out.Data)
		}
	}
	sums := make([]capstan.Hash, len(data))
	digest.Sums(sums, data)
	for i := range c.items {
		if it := &c.items[i]; it.unhashed {
			it.out.Entry.Hash, sums, it.unhashed = sums[0], sums[1:], false
		}
	}
	clear(data)
	rd.contents = data
}

// fill reads everything that is kept of one entry, and opens or reads its content.
func (rd *reader) fill(it *item) {
	if it.out.Entry.Kind == capstan.KindFile && (it.held == nil || it.force) {
		rd.fillFile(it)
		return
	}
	st, err := it.folder.lstat(it.name)
	if err != nil {
		it.failed("examine", err)
		return
	}
	rd.describe(&it.out.Entry, &st)
	switch {
	case it.refuses(&st):
	case unchanged(&st, it.held):
		if st.linked() {
			it.same, it.unread = true, true
			it.outcome(capstan.OutcomeStored, "")
			return
		}
		it.keep()
	case st.kind == capstan.KindFile:
		rd.fillFile(it)
	default:
		rd.fillSpecial(it)
	}
}

// refuses settles the entries that are not stored whatever they hold.
func (it *item) refuses(st *stat) bool {
	switch st.kind {
	case capstan.KindDir:
		it.outcome(capstan.OutcomeVanished, "a directory took its place after it was listed")
	case capstan.KindSocket:
		it.outcome(capstan.OutcomeExcluded, "socket")
	case 0:
		it.outcome(capstan.OutcomeFailed, "it is of a kind that this system does not know")
	default:
		return false
	}
	return true
}

// fillSpecial completes what is neither a file nor a directory.
func (rd *reader) fillSpecial(it *item) {
	e := &it.out.Entry
	it.outcome(capstan.OutcomeStored, "")
	if e.Kind == capstan.KindSymlink {
		target, err := it.folder.readlink(it.name)
		if err != nil {
			it.failed("read link", err)
			return
		}
		e.Link = target
	}
	rd.attrs.read(it.folder.attributesOf(it.name), e)
}

// fillFile opens a regular file and takes what it holds.
func (rd *reader) fillFile(it *item) {
	it.same, it.unread = false, false
	f, err := it.folder.open(it.name, &rd.noatime)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = it.folder.open(it.name, &rd.noatime) // a rename onto the name may have been under way
	}
	if err != nil {
		rd.unopened(it, err)
		return
	}
	st, err := f.stat()
	if err != nil {
		f.close()
		it.failed("examine", err)
		return
	}
	rd.describe(&it.out.Entry, &st)
	if st.kind != capstan.KindFile {
		f.close()
		if !it.refuses(&st) {
			rd.fillSpecial(it)
		}
		return
	}
	if st.linked() && !it.force && !rd.run.links.claim(st.inode(), it.seq) {
		f.close()
		it.unread = true
		it.outcome(capstan.OutcomeStored, "")
		return
	}
	rd.take(it, f, &st)
}

// unopened settles a file that could not be opened: it may be something else by
// now, and if it is not, its attributes are told with the reason.
func (rd *reader) unopened(it *item, cause error) {
	st, err := it.folder.lstat(it.name)
	if err != nil {
		it.failed("open", err)
		return
	}
	rd.describe(&it.out.Entry, &st)
	switch {
	case it.refuses(&st):
	case st.kind == capstan.KindFile:
		it.failed("open", cause)
	default:
		rd.fillSpecial(it)
	}
}

// take owns f: it reads a small file at once and leaves a larger one open.
func (rd *reader) take(it *item, f file, st *stat) {
	e := &it.out.Entry
	drift := ""
	for attempt := 1; ; attempt++ {
		it.outcome(capstan.OutcomeStored, "")
		rd.attrs.read(f.attributes(), e)
		if err := layOut(e, f, st); err != nil {
			f.close()
			it.failed("find holes", err)
			return
		}
		if e.StoredSize() > smallContent {
			it.out.Content = rd.run.newContent(it, f, st)
			return
		}
		now, err := rd.readSmall(it, f)
		if err != nil {
			f.close()
			it.failed("read", err)
			return
		}
		if drift = st.drift(&now); drift == "" || attempt == readAttempts {
			break
		}
		*st = now
		rd.describe(e, st)
	}
	f.close()
	if drift != "" {
		it.outcome(capstan.OutcomeChanged, drift)
	}
	if len(it.out.Data) > 0 {
		it.block = rd.filler.keep(len(it.out.Data))
	}
	it.unhashed = true
}

// layOut finds the data ranges of a file that may have holes.
func layOut(e *capstan.Entry, f file, st *stat) (err error) {
	e.Sparse, e.Data = false, nil
	if st.allocated < st.size {
		e.Data, e.Sparse, err = f.extents(st.size)
	}
	return err
}

// readSmall reads the whole stored content into the arena, and then examines
// the file again. A file that gives fewer bytes than it should is stored with
// those that it gave, or where it is sparse with zeros for the rest.
func (rd *reader) readSmall(it *item, f file) (now stat, err error) {
	e := &it.out.Entry
	it.out.Data = []byte{}
	whole := [1]capstan.Extent{{Length: e.Size}}
	ranges := whole[:]
	if e.Sparse {
		ranges = e.Data
	}
	want, got := int(e.StoredSize()), 0
	if want > 0 {
		it.out.Data = rd.filler.reserve(want)
		data := it.out.Data
		for _, x := range ranges {
			n, err := readFull(f, data[:x.Length], x.Offset)
			if err != nil {
				return stat{}, err
			}
			clear(data[n:x.Length])
			data, got = data[x.Length:], got+n
		}
	}
	rd.bytes += got
	now, err = f.stat()
	if err == nil && got < want {
		it.outcome(capstan.OutcomeChanged, fmt.Sprintf("gave %d of its %d bytes", got, want))
		if !e.Sparse {
			it.out.Data, e.Size = it.out.Data[:got], int64(got)
		}
	}
	return now, err
}

// readFull reads until p is full or the file ends.
func readFull(f file, p []byte, offset int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := f.readAt(p[n:], offset+int64(n))
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}
