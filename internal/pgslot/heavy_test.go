package pgslot

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Beyond its capacity the large ones are still found, and no count is too low or
// further too high than it says.
func TestHeavy(t *testing.T) {
	t.Parallel()
	h, want := newHeavy(100), map[uint32]int64{}
	add := func(xid uint32, size int64) {
		h.add(xid, size)
		want[xid] += size
	}
	for i := range uint32(10_000) {
		add(1000+i, int64(i%7)+1)
		if i%100 == 0 {
			add(i/100%3+1, 5000)
		}
	}
	top := h.top(5)
	if !h.more || len(h.least) != 100 || len(top) != 5 {
		t.Fatalf("%t, %d, %v", h.more, len(h.least), top)
	}
	for i, found := range top {
		real := want[found.XID]
		if found.Bytes < real || found.Bytes-found.TooHigh > real || (i < 3 && found.XID > 3) {
			t.Errorf("%+v has %d", found, real)
		}
		if i > 0 && top[i-1].Bytes < found.Bytes {
			t.Errorf("not in order: %v", top)
		}
	}
	exact := newHeavy(10)
	exact.add(7, 5)
	exact.add(7, 6)
	exact.add(8, 20)
	if top := exact.top(9); exact.more || len(top) != 2 || top[0].XID != 8 || top[1].Bytes != 11 || top[1].Files != 2 || top[1].TooHigh != 0 {
		t.Errorf("%v", top)
	}
}

// A rate is kept over its whole time, and a wait for it ends with the context.
func TestPacer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := pacer{rate: 1000, began: time.Now()}
		for range 5000 {
			if err := p.next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(p.began); took < 4900*time.Millisecond || took > 5100*time.Millisecond {
			t.Errorf("5000 steps at 1000 a second took %s", took)
		}
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(enough)
		var err error
		for range 64 {
			err = errors.Join(err, p.next(ctx))
		}
		if !errors.Is(err, enough) {
			t.Errorf("%v", err)
		}
	})
}
