package pgslot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"

	"capstan/internal/pgdata"
)

// Bounds of what a report keeps, whatever lies in a slot's directory: exact up to
// them, and never more memory than some megabytes.
const (
	keepTransactions = 16 << 10
	keepSegments     = 64 << 10
)

// A storm is a transaction with very many subtransactions, or very many
// transactions at once: many small files for one WAL segment. 5,000 savepoints give
// about that many files.
const (
	stormFiles = 1000
	stormBytes = 16 << 10 // on average, a file of a storm is smaller
)

// SlotSpill is what one slot has spilled.
type SlotSpill struct {
	Slot   string `json:"slot"`
	Plugin string `json:"plugin,omitempty"`
	// State is why the slot's state file could not be read; empty if it could.
	Damage         string     `json:"damage,omitempty"`
	RestartLSN     pgdata.LSN `json:"restart_lsn"`
	ConfirmedFlush pgdata.LSN `json:"confirmed_flush_lsn"`
	Invalidated    bool       `json:"invalidated,omitempty"`

	Files        int64         `json:"files"`
	Bytes        int64         `json:"bytes"`
	Others       int64         `json:"others,omitempty"` // files that are neither spill nor state
	Transactions int64         `json:"transactions"`     // that spilled; at least so many where More is set
	More         bool          `json:"more_transactions,omitempty"`
	Top          []Transaction `json:"top,omitempty"` // with the most bytes
	Segments     int           `json:"segments"`      // WAL segments that the changes are from
	First        pgdata.LSN    `json:"first"`         // begin of the oldest of them
	Last         pgdata.LSN    `json:"last"`          // and of the newest
	// Storm is the WAL segment with the most files, where these are many and small.
	Storm *Storm `json:"storm,omitempty"`
}

// Storm is a WAL segment whose changes went to very many small files.
type Storm struct {
	Start   pgdata.LSN `json:"start"`
	Segment string     `json:"segment"` // name of the WAL file
	Files   int64      `json:"files"`
	Bytes   int64      `json:"bytes"`
}

// Report looks at the spill files of every slot, or of one if slot is not empty,
// with the top largest transactions of each. A server may run meanwhile; files that
// vanish are not counted. It takes some microseconds a file.
func (p *Place) Report(ctx context.Context, slot string, top int) ([]SlotSpill, error) {
	slots, err := p.Slots()
	if err != nil {
		return nil, err
	}
	if slot != "" {
		if !slices.Contains(slots, slot) {
			return nil, p.noSlot(slot)
		}
		slots = []string{slot}
	}
	reports := make([]SlotSpill, 0, len(slots))
	for _, slot := range slots {
		r, err := p.survey(ctx, p.slotDir(slot), slot, top)
		if errors.Is(err, fs.ErrNotExist) {
			continue // dropped meanwhile
		}
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// survey streams through one directory.
func (p *Place) survey(ctx context.Context, dir, slot string, top int) (SlotSpill, error) {
	r := SlotSpill{Slot: slot}
	switch state, _, err := p.state(dir + "/" + stateFile); {
	case err == nil:
		r.Plugin, r.RestartLSN, r.ConfirmedFlush, r.Invalidated = state.Plugin, state.RestartLSN, state.ConfirmedFlush, state.Invalidated
	case errors.Is(err, fs.ErrNotExist):
		r.Damage = "it has no state file"
	default:
		r.Damage = err.Error()
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return r, err
	}
	defer root.Close()
	transactions, segments := newHeavy(keepTransactions), map[pgdata.LSN]*Storm{}
	err = names(ctx, dir, func(found []string) error {
		for _, name := range found {
			spill, ok := pgdata.ParseSpillName(name)
			if !ok {
				if name != stateFile {
					r.Others++
				}
				continue
			}
			info, err := root.Lstat(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			r.count(spill, info.Size(), transactions, segments)
		}
		return nil
	})
	r.Transactions, r.More, r.Top = int64(len(transactions.least)), transactions.more, transactions.top(top)
	r.Segments = len(segments)
	for _, s := range segments {
		if s.Files >= stormFiles && s.Bytes/s.Files < stormBytes && (r.Storm == nil || s.Files > r.Storm.Files) {
			r.Storm = s
			s.Segment = pgdata.SegmentName(p.Timeline, s.Start, p.Segment)
		}
	}
	return r, err
}

func (r *SlotSpill) count(spill pgdata.SpillName, size int64, transactions *heavy, segments map[pgdata.LSN]*Storm) {
	if r.Files == 0 || spill.Start < r.First {
		r.First = spill.Start
	}
	r.Last = max(r.Last, spill.Start)
	r.Files++
	r.Bytes += size
	transactions.add(spill.XID, size)
	s := segments[spill.Start]
	if s == nil {
		if len(segments) >= keepSegments {
			return // a terabyte of WAL; the others tell enough
		}
		s = &Storm{Start: spill.Start}
		segments[spill.Start] = s
	}
	s.Files++
	s.Bytes += size
}

// Count is how many spill files a slot has, at most limit if that is above zero.
func (p *Place) Count(ctx context.Context, slot string, limit int64) (int64, error) {
	var n int64
	enough := errors.New("enough")
	err := names(ctx, p.slotDir(slot), func(found []string) error {
		for _, name := range found {
			if _, ok := pgdata.ParseSpillName(name); ok {
				n++
			}
		}
		if limit > 0 && n >= limit {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		return limit, nil
	}
	return n, err
}
