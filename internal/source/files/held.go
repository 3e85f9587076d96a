package files

import (
	"context"
	"fmt"

	"capstan"
)

const (
	heldPage  = 256 // entries of the baseline that are passed on together
	heldAhead = 4   // pages that are read before the walk comes to them
)

// heldEntries are what the baseline holds of the source, in the order of the walk,
// which is merged with them. The walker alone uses it.
type heldEntries struct {
	pages   <-chan []capstan.Entry // nil: nothing is held
	page    []capstan.Entry        // what was not passed
	skipped string                 // what lies in it is passed over; empty: nothing
	stop    func()                 // ends the reading of the baseline
}

// followBaseline begins to read the baseline, until it is stopped or ctx ends.
func (r *run) followBaseline(ctx context.Context) heldEntries {
	if r.baseline == nil {
		return heldEntries{stop: func() {}}
	}
	ctx, stop := context.WithCancel(ctx)
	pages := make(chan []capstan.Entry, heldAhead)
	r.wg.Go(func() { r.readHeld(ctx, pages) })
	return heldEntries{pages: pages, stop: stop}
}

// readHeld reads the baseline. An error of it ends the scan.
func (r *run) readHeld(ctx context.Context, pages chan<- []capstan.Entry) {
	page, last := make([]capstan.Entry, 0, heldPage), ""
	for e, err := range r.baseline.Walk(ctx, r.src.name) {
		if err == nil && last != "" && capstan.ComparePaths(last, e.Path) >= 0 {
			err = fmt.Errorf("%q comes after %q: %w", e.Path, last, capstan.ErrDamaged)
		}
		if err != nil && ctx.Err() == nil {
			r.fail(fmt.Errorf("what is already held of %s: %w", r.src.name, err))
		}
		if err != nil {
			return // the walk is not told that this is all
		}
		last = e.Path
		if page = append(page, e); len(page) < heldPage {
			continue
		}
		select {
		case pages <- page:
			page = make([]capstan.Entry, 0, heldPage)
		case <-ctx.Done():
			return
		}
	}
	select {
	case pages <- page:
		close(pages)
	case <-ctx.Done():
	}
}

// head gives the first entry that the walk has not passed, nil after the last.
func (h *heldEntries) head(ctx context.Context) (*capstan.Entry, error) {
	for {
		for len(h.page) == 0 {
			if h.pages == nil {
				return nil, nil //nolint:nilnil // that nothing is left is no failure
			}
			select {
			case page, more := <-h.pages:
				if h.page = page; !more {
					h.pages = nil
				}
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		e := &h.page[0]
		// What was not held then is not there to be compared with.
		if e.Outcome.Held() && (h.skipped == "" || !capstan.Within(e.Path, h.skipped)) {
			return e, nil
		}
		h.page = h.page[1:]
	}
}

// missed passes an entry within dir that comes before path, or before the end of
// dir where path is empty, and all that lies in it; nil if there is none.
func (h *heldEntries) missed(ctx context.Context, dir, path string) (*capstan.Entry, error) {
	e, err := h.head(ctx)
	if e == nil || err != nil || !capstan.Within(e.Path, dir) || path != "" && capstan.ComparePaths(e.Path, path) >= 0 {
		return nil, err
	}
	h.page = h.page[1:]
	h.skip(e.Path)
	return e, nil
}

// take passes the entry under path, if there is one, and nothing that lies in it.
func (h *heldEntries) take(ctx context.Context, path string) (*capstan.Entry, error) {
	e, err := h.head(ctx)
	if e == nil || err != nil || e.Path != path {
		return nil, err
	}
	h.page = h.page[1:]
	return e, nil
}

// skip passes over what lies in a path that the walk has passed.
func (h *heldEntries) skip(path string) { h.skipped = path }
