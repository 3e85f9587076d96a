package powerloss

import (
	"fmt"
	"math/rand/v2"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// contents are the bytes of a file at one moment.
type contents struct {
	data []byte
	mode uint32
	dir  bool
}

// apply carries a record about content out.
func (c *contents) apply(r Record) {
	switch r.Kind {
	case Create, Mkdir:
		c.mode, c.dir = r.Mode, r.Kind == Mkdir
	case Chmod:
		c.mode = r.Mode
	case Write:
		c.grow(r.Offset + int64(len(r.Data)))
		copy(c.data[r.Offset:], r.Data)
	case Truncate:
		c.grow(r.Size)
		c.data = c.data[:r.Size]
	case Allocate:
		c.grow(r.Offset + r.Size)
	default:
	}
}

func (c *contents) grow(size int64) {
	if more := size - int64(len(c.data)); more > 0 {
		c.data = append(c.data, make([]byte, more)...)
	}
}

// isContent reports whether a record changes what a file holds.
func (r Record) isContent() bool { return r.Kind == Write || r.Kind == Truncate || r.Kind == Allocate }

// medium is a file as the disk has it: the content of its last sync, and what came
// since.
type medium struct {
	contents
	pending []int // records
	whole   int64 // size, had nothing been lost
}

// files carries out all that is durable after the first n records, and gives what
// is not.
func (l *Log) files(n int) map[uint64]*medium {
	files := map[uint64]*medium{}
	of := func(node uint64) *medium {
		if files[node] == nil {
			files[node] = &medium{}
		}
		return files[node]
	}
	for i, r := range l.Records[:n] {
		switch {
		case r.Kind == Create, r.Kind == Mkdir, r.Kind == Chmod:
			of(r.Node).apply(r)
		case r.isContent():
			f := of(r.Node)
			f.pending = append(f.pending, i)
			f.whole = sizeAfter(f.whole, r)
		case r.Kind == Sync:
			f := of(r.Node)
			var late []int
			for _, p := range f.pending {
				if p < r.Before {
					f.apply(l.Records[p])
				} else {
					late = append(late, p)
				}
			}
			f.pending = late
		}
	}
	return files
}

func sizeAfter(size int64, r Record) int64 {
	switch r.Kind {
	case Write:
		return max(size, r.Offset+int64(len(r.Data)))
	case Truncate:
		return r.Size
	default:
		return max(size, r.Offset+r.Size)
	}
}

// lose decides about what was not synced, and tells what did not come through.
func (l *Log) lose(f *medium, fate Fate, random *rand.Rand) (lost []string) {
	one := -1
	if fate.Data == One && len(f.pending) > 0 {
		one = random.IntN(len(f.pending))
	}
	for i, p := range f.pending {
		r := l.Records[p]
		what := 0 // kept
		switch {
		case fate.Data == None, i == one:
			what = 1
		case fate.Data == Each:
			what = random.IntN(3)
		}
		switch {
		case what == 0:
			f.apply(r)
		case what == 2 && r.Kind == Write:
			lost = append(lost, l.String(p)+": torn, "+f.tear(r, random))
		default:
			lost = append(lost, l.String(p)+": lost")
		}
	}
	if had := int64(len(f.data)); fate.Grown && had < f.whole {
		f.grow(f.whole)
		if fate.Noise {
			fill(f.data[had:], random)
		}
		lost = append(lost, fmt.Sprintf("  and it has grown from %d to %d without its bytes", had, f.whole))
	}
	return lost
}

// tear writes some sectors of a write, and tells how many.
func (c *contents) tear(r Record, random *rand.Rand) string {
	count, kept := 0, 0
	from, to := random.Int64N(int64(len(r.Data))+1), int64(len(r.Data))
	style := random.IntN(3) // the first sectors, the last ones, any
	for at := int64(0); at < to; count++ {
		end := min(to, at+sector-(r.Offset+at)%sector)
		if style == 0 && at < from || style == 1 && at >= from || style == 2 && random.IntN(2) == 0 {
			c.apply(Record{Kind: Write, Offset: r.Offset + at, Data: r.Data[at:end]})
			kept++
		}
		at = end
	}
	return fmt.Sprintf("%d of %d sectors kept", kept, count)
}

func fill(data []byte, random *rand.Rand) {
	for i := range data {
		data[i] = byte(random.Uint32())
	}
}
