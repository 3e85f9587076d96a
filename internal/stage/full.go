package stage

import (
	"context"
	"fmt"

	"capstan"
)

// checkEvery bounds how much is written between two looks at the free space.
const checkEvery = 16 * capstan.MiB

// persist calls try until it says something else than that the disk is full.
// While it is, that is a declared wait, which ends when somebody makes room, or
// with ctx and its cause. what needs at least the given room, 0 if that is not known.
func (s *Stage) persist(ctx context.Context, what string, least capstan.Bytes, try func() (full bool, err error)) error {
	for waits := false; ; waits = true {
		changed := s.changes()
		full, err := try()
		if !full {
			return err
		}
		if !waits {
			done := s.declare("space", s.whoFills(ctx, what, least, err))
			defer done()
		}
		if err := pause(ctx, changed, recheck); err != nil {
			return err
		}
		if err := s.usable(); err != nil {
			return err
		}
	}
}

// whoFills says who has the room of a disk that is full.
func (s *Stage) whoFills(ctx context.Context, what string, least capstan.Bytes, full error) string {
	text := full.Error()
	err := s.transact(ctx, func(l *ledger) error {
		view, err := l.survey()
		if err == nil {
			text = view.describe(&demand{what: what, least: least}, s, 0)
		}
		return err
	})
	if err != nil {
		text += "; who has it cannot be told: " + err.Error()
	}
	return text
}

// roomFor says how much may be written before the filesystem is asked again, so
// that the reserve stays free whoever else writes there: at least n, else full.
func (s *Stage) roomFor(what string, n capstan.Bytes) (room capstan.Bytes, full bool, err error) {
	if err := s.usable(); err != nil {
		return 0, false, err
	}
	space, err := s.disk.Space(s.path)
	if err != nil {
		return 0, false, err
	}
	if left := space.Free - s.reserve; left >= n {
		return min(checkEvery, left/2), false, nil
	}
	return 0, true, fmt.Errorf("%w: %s for %s; %s", capstan.ErrNoSpace, n, what, s.filesystemSays(space.Free, 0))
}
