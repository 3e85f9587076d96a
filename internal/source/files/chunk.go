package files

import (
	"errors"
	"io/fs"
	"sync/atomic"

	"capstan"
)

const (
	chunkItems   = 32
	smallContent = 64 << 10  // content up to this size travels in the item
	contentCost  = 128 << 10 // what an open content counts for in the budget, so that few are opened long before they are read
	entryCost    = 1 << 10   // what an item counts for in the budget, beside its path and data
)

// item is an entry on its way through the scan. The walker makes it, one reader
// fills it, and the goroutine of Scan emits it.
type item struct {
	out    capstan.Item
	host   string
	name   string         // within folder
	folder *folder        // a reference, until the item was read; nil when nothing is to be read
	held   *capstan.Entry // what the baseline holds under the path, or nil
	block  *block         // a reference, where out.Data lies in one
	seq    int64          // position in the order of emission

	same   bool // a linked file that looks like what the baseline holds
	unread bool // a linked file whose content was not read, since an earlier name should hold it
	force  bool // read the content in any case

	unhashed bool // what lies in out.Data is to be hashed, with that of its neighbours
}

// outcome sets what became of the entry.
func (it *item) outcome(o capstan.Outcome, reason string) {
	it.out.Entry.Outcome, it.out.Entry.Reason = o, reason
}

// failed says that an act on the entry met err. Nothing of its content is kept.
func (it *item) failed(act string, err error) {
	it.out.Data = nil
	if errors.Is(err, fs.ErrNotExist) {
		it.outcome(capstan.OutcomeVanished, "")
		return
	}
	it.outcome(capstan.OutcomeFailed, act+": "+err.Error())
}

// keep makes it the baseline's entry.
func (it *item) keep() {
	dev, path := it.out.Entry.Dev, it.out.Entry.Path
	it.out.Entry = *it.held
	e := &it.out.Entry
	e.Path, e.Host, e.Dev = path, it.host, dev
	it.outcome(capstan.OutcomeUnchanged, "")
}

// link makes it another name of first.
func (it *item) link(first string) {
	it.drop()
	e := &it.out.Entry
	e.Kind, e.Link, e.Size, e.Hash = capstan.KindHardlink, first, 0, capstan.Hash{}
	e.Sparse, e.Data, e.Xattrs, e.ACL = false, nil, nil, ""
	it.outcome(capstan.OutcomeStored, "")
}

// linked reports whether the entry can be another name of an earlier one.
func (it *item) linked() bool {
	e := &it.out.Entry
	return e.Kind == capstan.KindFile && e.Links > 1 && e.Ino != 0 &&
		(e.Outcome == capstan.OutcomeStored || e.Outcome == capstan.OutcomeChanged)
}

// drop lets go of everything that the item holds open.
func (it *item) drop() {
	if it.folder != nil {
		it.folder.release()
		it.folder = nil
	}
	if it.out.Content != nil {
		_ = it.out.Content.Close() // it was only read
		it.out.Content = nil
	}
	it.out.Data = nil
	if it.block != nil {
		it.block.release()
		it.block = nil
	}
}

// ticket passes a piece of work from who does it to who waits for it. When the
// waiting side gives up, the working side is told and cleans up after itself,
// so neither touches what the other owns.
type ticket struct {
	state atomic.Int32
	done  chan struct{} // closed when the work is finished and not abandoned
}

const (
	ticketOpen int32 = iota
	ticketTaken
	ticketDone
	ticketAbandoned
)

func newTicket() ticket { return ticket{done: make(chan struct{})} }

// take begins the work; false: nobody waits for it any more.
func (t *ticket) take() bool { return t.state.CompareAndSwap(ticketOpen, ticketTaken) }

// finish ends the work that take began; false: it was abandoned, and the
// working side must clean up.
func (t *ticket) finish() bool {
	if !t.state.CompareAndSwap(ticketTaken, ticketDone) {
		return false
	}
	close(t.done)
	return true
}

// abandon gives up; true: the waiting side must clean up, since the work has
// not begun or is finished.
func (t *ticket) abandon() bool {
	return t.state.CompareAndSwap(ticketOpen, ticketAbandoned) ||
		!t.state.CompareAndSwap(ticketTaken, ticketAbandoned)
}

// chunk is a run of neighbouring items: the unit of work and of order.
type chunk struct {
	ticket
	items []item
	cost  int64 // what it holds of the budget
	work  bool  // some item must be read
}

func newChunk() *chunk {
	return &chunk{ticket: newTicket(), items: make([]item, 0, chunkItems)}
}

// actual is what the chunk's items hold, once they were read.
func (c *chunk) actual() int64 {
	var n int64
	for i := range c.items {
		it := &c.items[i]
		n += entryCost + int64(len(it.host)+len(it.out.Data))
		if it.out.Content != nil {
			n += contentCost
		}
	}
	return n
}

// drop lets go of everything that the items from index from on hold.
func (c *chunk) drop(from int) {
	for i := from; i < len(c.items); i++ {
		c.items[i].drop()
	}
}
