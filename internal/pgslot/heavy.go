package pgslot

import (
	"container/heap"
	"slices"
)

// heavy finds the transactions with the most bytes among any number of them in
// bounded memory (Metwally's Space-Saving): up to its capacity it is exact; beyond,
// a transaction takes the place of the smallest one and inherits its count, which is
// then how much too high its own may be.
type heavy struct {
	limit int
	byXID map[uint32]*Transaction
	least smallest
	more  bool // there were more transactions than fit
}

// Transaction is what one transaction or subtransaction spilled.
type Transaction struct {
	XID   uint32 `json:"xid"`
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"`
	// TooHigh is how much Bytes may be too high; 0 means that it is exact.
	TooHigh int64 `json:"too_high,omitempty"`

	place int // in the heap
}

func newHeavy(limit int) *heavy { return &heavy{limit: limit, byXID: make(map[uint32]*Transaction)} }

// add counts one file.
func (h *heavy) add(xid uint32, size int64) {
	if t, ok := h.byXID[xid]; ok {
		t.Files++
		t.Bytes += size
		heap.Fix(&h.least, t.place)
		return
	}
	if len(h.least) < h.limit {
		t := &Transaction{XID: xid, Files: 1, Bytes: size}
		h.byXID[xid] = t
		heap.Push(&h.least, t)
		return
	}
	h.more = true
	t := h.least[0]
	delete(h.byXID, t.XID)
	h.byXID[xid] = t
	*t = Transaction{XID: xid, Files: 1, Bytes: t.Bytes + size, TooHigh: t.Bytes, place: t.place}
	heap.Fix(&h.least, t.place)
}

// top are the largest ones, the largest first.
func (h *heavy) top(n int) []Transaction {
	all := make([]Transaction, 0, len(h.least))
	for _, t := range h.least {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b Transaction) int {
		if a.Bytes != b.Bytes {
			return int(max(min(b.Bytes-a.Bytes, 1), -1))
		}
		return int(max(min(int64(a.XID)-int64(b.XID), 1), -1))
	})
	return all[:min(n, len(all))]
}

// smallest is a heap of transactions, the one with the fewest bytes on top.
type smallest []*Transaction

func (s smallest) Len() int           { return len(s) }
func (s smallest) Less(i, j int) bool { return s[i].Bytes < s[j].Bytes }

func (s smallest) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

// Push is that of heap.Interface.
func (s *smallest) Push(x any) {
	t := x.(*Transaction) // only add pushes
	t.place = len(*s)
	*s = append(*s, t)
}

// Pop is that of heap.Interface; nothing is ever popped.
func (s *smallest) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}
