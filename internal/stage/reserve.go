package stage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan"
)

// Reservation is room in the stage that is taken and not written yet. It ends
// with Release, or is handed to Create.
type Reservation struct {
	stage *Stage
	id    uint64
}

// Reserve blocks until n bytes are free or ctx ends, with its cause; it returns
// capstan.ErrNoSpace when n exceeds the whole stage or its filesystem. Requests
// are granted in the order in which they came, see the package comment.
func (s *Stage) Reserve(ctx context.Context, n capstan.Bytes) (*Reservation, error) {
	if n < 0 {
		return nil, fmt.Errorf("reserve %s in stage %s: a size cannot be negative", n, s.path)
	}
	d := demand{what: "an archive", least: n, most: n}
	if err := s.obtain(ctx, &d); err != nil {
		return nil, err
	}
	return &Reservation{s, d.hold}, nil
}

// Release gives the room back, and wakes who waits for it. It does nothing to a
// reservation that Create took or that was released before. The room is free for
// this process whatever the error; other processes may learn it later then.
func (r *Reservation) Release(ctx context.Context) error {
	free := false
	r.stage.edit(func(self *record) {
		if h := self.hold(r.id); h != nil && h.Name == "" {
			self.dropHold(r.id)
			free = true
		}
	})
	if !free {
		return nil
	}
	r.stage.announce()
	return r.stage.settle(ctx, func(*ledger) error { return nil })
}

// demand is one call for room.
type demand struct {
	what   string        // for people
	hold   uint64        // to grow, with what it has; 0: a new one, which is put here
	has    capstan.Bytes // size of the hold
	least  capstan.Bytes // that is needed more
	most   capstan.Bytes // that is taken where it is free
	ticket uint64        // of the request in the ledger; 0: none
	got    capstan.Bytes // that was granted
	detail string        // who has the room, while it is not granted
	// declare is told of the wait; nil: the stage's hook.
	declare func(on, detail string) (done func())
}

// obtain waits for a demand to be granted. Afterwards d.hold has d.got bytes more.
func (s *Stage) obtain(ctx context.Context, d *demand) (err error) {
	tell := s.declare
	if d.declare != nil {
		tell = d.declare
	}
	declare, done := tell, func() {}
	defer func() {
		done()
		if err != nil {
			err = errors.Join(err, s.withdraw(ctx, d))
		}
	}()
	for waits := false; ; waits = true {
		changed := s.changes()
		began := time.Now()
		granted := false
		err := s.look(ctx, declare, func(l *ledger) (err error) {
			granted, err = l.grant(d)
			return err
		})
		if err != nil || granted {
			return err
		}
		if !waits {
			done = tell("space", d.detail)
			declare = func(string, string) func() { return func() {} } // one wait at a time
		}
		// A stage of very many files takes long to look at; that must not become all
		// that the machine does.
		if err := pause(ctx, changed, max(recheck, 20*time.Since(began))); err != nil {
			return err
		}
	}
}

// grant looks whether a demand can be met, and does so; at its first call the
// demand takes its place in the queue.
func (l *ledger) grant(d *demand) (bool, error) {
	s := l.stage
	view, err := l.survey()
	if err != nil {
		return false, err
	}
	if d.ticket == 0 {
		if err := s.bounds(d, view.space.Total); err != nil {
			return false, err
		}
		d.ticket = view.nextTicket()
		s.edit(func(r *record) { r.Requests = append(r.Requests, request{d.ticket, d.hold, d.least}) })
		view.records[0] = s.snapshot()
	}
	verdict := view.judge(d.ticket)
	if verdict.stuck {
		return false, &capstan.Error{
			Class: capstan.ErrNoSpace, Op: "wait for room in stage", Object: s.path,
			Err: fmt.Errorf("nothing in it can become free any more: no archive is sealed, and all that is being written waits for room too (%s)",
				view.describe(d, s, verdict.ahead)),
			Safe: "sealed archives are whole",
			Next: "enlarge it with --stage-size, make archives smaller with --archive-size, or run fewer jobs at once",
		}
	}
	if !verdict.fits {
		d.detail = view.describe(d, s, verdict.ahead)
		return false, nil
	}
	d.got = min(d.most, verdict.room)
	s.edit(func(r *record) {
		r.dropRequest(d.ticket)
		if d.hold == 0 {
			s.last++
			d.hold = s.last
			r.Holds = append(r.Holds, hold{ID: d.hold})
		}
		if h := r.hold(d.hold); h != nil {
			h.Bytes += d.got
		}
	})
	return true, nil
}

// withdraw takes back what a demand that failed has left in the ledger.
func (s *Stage) withdraw(ctx context.Context, d *demand) error {
	if d.ticket == 0 {
		return nil
	}
	s.edit(func(r *record) {
		r.dropRequest(d.ticket)
		switch h := r.hold(d.hold); {
		case h == nil:
		case d.has == 0 && d.got == h.Bytes && h.Name == "":
			r.dropHold(d.hold)
		default:
			h.Bytes -= d.got
		}
	})
	s.announce() // those behind are next
	return s.settle(ctx, func(*ledger) error { return nil })
}

// nextTicket is later than those of all requests.
func (v *survey) nextTicket() uint64 {
	var last uint64
	for _, r := range v.records {
		for _, q := range r.Requests {
			last = max(last, q.Ticket)
		}
	}
	return last + 1
}

// bounds refuses what can never be granted.
func (s *Stage) bounds(d *demand, total capstan.Bytes) error {
	switch size := d.has + d.least; {
	case size > s.quota:
		return &capstan.Error{
			Class: capstan.ErrNoSpace, Op: "stage " + d.what + " in", Object: s.path,
			Err:  fmt.Errorf("%s are needed at once, and the whole stage is %s", size, s.quota),
			Safe: "sealed archives are whole",
			Next: "enlarge it with --stage-size, or make archives smaller with --archive-size",
		}
	case size > total-s.reserve:
		return &capstan.Error{
			Class: capstan.ErrNoSpace, Op: "stage " + d.what + " in", Object: s.path,
			Err:  fmt.Errorf("%s are needed at once, and the whole filesystem has %s, of which %s are kept in reserve", size, total, s.reserve),
			Safe: "sealed archives are whole",
			Next: "name a directory on a larger disk with --stage, or make archives smaller with --archive-size",
		}
	}
	return nil
}
