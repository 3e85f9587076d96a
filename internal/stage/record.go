package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"capstan"
)

const (
	recordFormat = 1
	maxBytes     = 1 << 20 * capstan.TiB // that the figures of a record may sum up to, so that nothing overflows
	recordLimit  = 1 << 22               // bytes
	// recordRoom is the least size of a record's file. It is made with padding, so
	// that on a full disk a longer text can be written over a shorter one.
	recordRoom = 1 << 14
)

// record is what an owner tells the others. It is true for as long as its owner
// lives, and means nothing afterwards.
type record struct {
	Format   int             `json:"format"`
	PID      int             `json:"pid"`
	Quota    capstan.Bytes   `json:"quota"`
	Sets     []capstan.SetID `json:"sets"`     // claimed
	Holds    []hold          `json:"holds"`    // room that is taken
	Requests []request       `json:"requests"` // for room, not yet granted
}

// hold is room that an owner has taken: for an archive that is yet to begin, or
// for the one that it names, which is being written.
type hold struct {
	ID    uint64        `json:"id"` // unique within the owner
	Bytes capstan.Bytes `json:"bytes"`
	Set   capstan.SetID `json:"set,omitempty"`
	Name  string        `json:"name,omitempty"`
	// Spool marks the room of a Spool, and Written is how much of it lies on the file
	// system.
	Spool   bool          `json:"spool,omitempty"`
	Written capstan.Bytes `json:"written,omitempty"`
}

// request is a wait for room.
type request struct {
	Ticket uint64        `json:"ticket"`         // unique among the living, in the order of coming
	Hold   uint64        `json:"hold,omitempty"` // that is to grow; 0: a new one
	Bytes  capstan.Bytes `json:"bytes"`          // the least that helps
}

func (h hold) place() place { return place{h.Set, h.Name} }

// place is where a file lies, in temp or in final.
type place struct {
	set  capstan.SetID
	name string
}

// ok reports whether the words are those of a file in the stage; they may come
// from a record, or be empty.
func (p place) ok() bool {
	_, err := capstan.ParseSetID(string(p.set))
	return err == nil && namePattern.MatchString(p.name)
}

// clone gives a copy that shares nothing.
func (r *record) clone() record {
	c := *r
	c.Sets, c.Holds, c.Requests = slices.Clone(r.Sets), slices.Clone(r.Holds), slices.Clone(r.Requests)
	return c
}

// hold finds a hold by its id; nil if there is none.
func (r *record) hold(id uint64) *hold {
	if i := slices.IndexFunc(r.Holds, func(h hold) bool { return h.ID == id }); i >= 0 {
		return &r.Holds[i]
	}
	return nil
}

func (r *record) dropHold(id uint64) {
	r.Holds = slices.DeleteFunc(r.Holds, func(h hold) bool { return h.ID == id })
}

func (r *record) dropRequest(ticket uint64) {
	r.Requests = slices.DeleteFunc(r.Requests, func(q request) bool { return q.Ticket == ticket })
}

// encode gives the record padded with spaces to at least the given length.
func (r *record) encode(length int) ([]byte, error) {
	data, err := json.Marshal(r)
	if missing := length - len(data); missing > 0 {
		data = append(data, bytes.Repeat([]byte{' '}, missing)...)
	}
	return data, err
}

func decodeRecord(data []byte) (r record, err error) {
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, err
	}
	if r.Format != recordFormat {
		return record{}, fmt.Errorf("it has format %d, and this program knows %d", r.Format, recordFormat)
	}
	var sum capstan.Bytes
	add := func(size capstan.Bytes) bool {
		ok := size >= 0 && size <= maxBytes-sum
		if ok {
			sum += size
		}
		return ok
	}
	for _, h := range r.Holds {
		if !add(h.Bytes) {
			return record{}, fmt.Errorf("it holds %d bytes", h.Bytes)
		}
	}
	for _, q := range r.Requests {
		if !add(q.Bytes) {
			return record{}, fmt.Errorf("it asks for %d bytes", q.Bytes)
		}
	}
	if r.Quota < 0 {
		return record{}, fmt.Errorf("it has a quota of %d bytes", r.Quota)
	}
	return r, nil
}

// edit changes what this owner holds and waits for. The ledger learns of it at
// the next look at it.
func (s *Stage) edit(change func(r *record)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.self)
}

// snapshot is this owner's record as it is now.
func (s *Stage) snapshot() record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.self.clone()
}
