package stage

import (
	"cmp"
	"slices"

	"capstan"
)

// queued is a request with what its owner may use.
type queued struct {
	request
	quota capstan.Bytes
}

// verdict is what a look at the stage says about one request.
type verdict struct {
	fits  bool
	room  capstan.Bytes // if it fits: all that it could get, at least what it asked for
	stuck bool          // it does not fit, and nothing that may still happen in the stage ends that
	ahead int           // requests before it
}

// queue gives the requests of all owners in the order in which they are granted:
// files that grow first, since only they can end and free something.
func (v *survey) queue() []queued {
	var all []queued
	for _, r := range v.records {
		for _, q := range r.Requests {
			all = append(all, queued{q, r.Quota})
		}
	}
	slices.SortFunc(all, func(a, b queued) int {
		if (a.Hold == 0) != (b.Hold == 0) {
			if a.Hold != 0 {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Ticket, b.Ticket)
	})
	return all
}

// judge says whether a request is granted now. Room for those ahead that fit is
// put aside, also when their owner has not looked yet; one ahead that does not
// fit holds up all behind it.
func (v *survey) judge(ticket uint64) verdict {
	queue := v.queue()
	own := slices.IndexFunc(queue, func(q queued) bool { return q.Ticket == ticket })
	if own < 0 {
		return verdict{}
	}
	mine, used, room := queue[own], v.used(), v.room()
	fits := func(q queued) bool { return q.Bytes <= q.quota-used && q.Bytes <= room }
	for _, q := range queue[:own] {
		if !fits(q) {
			return verdict{stuck: v.stuck(queue, mine), ahead: own}
		}
		used += q.Bytes
		room -= q.Bytes
	}
	if !fits(mine) {
		return verdict{stuck: v.stuck(queue, mine), ahead: own}
	}
	return verdict{fits: true, room: min(mine.quota-used, room), ahead: own}
}

// stuck reports whether a request must fail, since it would wait for ever and
// others with it: nothing lies sealed, so no volume will free anything, and every
// hold is itself waiting to grow, or a spool's. The last one of these fails, and what it held
// helps the others; without any, what fills the stage is nobody's, and the first
// request fails. A lack of room on the filesystem is not judged, since others than
// the stage may make some.
func (v *survey) stuck(queue []queued, mine queued) bool {
	if v.sealed > 0 {
		return false
	}
	growing := 0
	for _, r := range v.records {
		if patient(r) > 0 {
			return false
		}
	}
	for _, q := range queue {
		if q.Hold != 0 {
			growing++
		}
	}
	if queue[0].Bytes <= queue[0].quota-v.used() {
		return false
	}
	return queue[max(growing, 1)-1].Ticket == mine.Ticket
}
