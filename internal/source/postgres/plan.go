package postgres

import (
	"cmp"
	"slices"
)

// assignment says which tables are read by which worker.
type assignment struct {
	shared  []*table   // read by all workers together, in parts
	private [][]*table // by worker
}

const (
	// slack is how much longer than its fair share a worker may have work for.
	slack = 1.1
	// smallestShare is what a table is at least worth being read in parts for: doing
	// so costs the server a fifth more.
	smallestShare = 16 << 20
)

// assign distributes tables over workers. The largest goes to whoever has least; as
// long as one worker has much more than its share, the largest table that can be is
// read by all of them, which evens out whatever the others leave.
func assign(tables []*table, jobs int, canShare func(*table) bool) assignment {
	tables = slices.Clone(tables)
	slices.SortStableFunc(tables, func(a, b *table) int { return cmp.Compare(b.bytes, a.bytes) })
	var total int64
	for _, t := range tables {
		total += t.bytes
	}
	fair := float64(total) / float64(jobs)
	var shared []*table
	for {
		private, most := distribute(tables, jobs)
		if jobs == 1 || float64(most) <= slack*fair {
			return assignment{shared: shared, private: private}
		}
		largest := slices.IndexFunc(tables, func(t *table) bool { return t.bytes >= smallestShare && canShare(t) })
		if largest < 0 {
			return assignment{shared: shared, private: private}
		}
		shared = append(shared, tables[largest])
		tables = slices.Delete(tables, largest, largest+1)
	}
}

// distribute gives each table, the largest first, to the worker that has least.
func distribute(tables []*table, jobs int) (private [][]*table, most int64) {
	private = make([][]*table, jobs)
	loads := make([]int64, jobs)
	for _, t := range tables {
		least := 0
		for i, load := range loads {
			if load < loads[least] {
				least = i
			}
		}
		private[least] = append(private[least], t)
		loads[least] += max(t.bytes, smallestLoad)
	}
	return private, slices.Max(loads)
}

// smallestLoad is what reading an empty table costs, as bytes.
const smallestLoad = 64 << 10

// stack gives the order in which a worker locks: what is locked last is read first,
// and its lock released first. At the bottom lie the tables that all workers share,
// so that they go on with them when their own are done; then its own, the smallest on
// top; above all, those that were asked for first.
func (a assignment) stack(worker int, first func(*table) bool) []*table {
	stack := append(slices.Clone(a.shared), a.private[worker]...)
	slices.SortStableFunc(stack, func(x, y *table) int {
		switch fx, fy := first(x), first(y); {
		case fx == fy:
			return 0
		case fy:
			return -1
		default:
			return 1
		}
	})
	return stack
}

const (
	// finestLayers is how many layers a worker has at most in which each table is alone:
	// beyond, small tables are locked, read and released together, which costs the server
	// half. A group is read in some milliseconds.
	finestLayers = 128
	layerTables  = 32
	layerBytes   = 1 << 20
)

// layers groups the tables of a stack that are locked and released together; alone
// names those that are not grouped.
func layers(stack []*table, alone func(*table) bool) [][]*table {
	most := min(max(len(stack)/finestLayers, 1), layerTables)
	var all [][]*table
	open, bytes := false, int64(0) // the last group can take more
	for _, t := range stack {
		single := most == 1 || alone(t)
		if !open || single || len(all[len(all)-1]) == most || bytes+t.bytes > layerBytes {
			all = append(all, nil)
			bytes = 0
		}
		last := len(all) - 1
		all[last] = append(all[last], t)
		bytes += t.bytes
		open = !single
	}
	return all
}
