package dir

import (
	"context"
	"fmt"

	"capstan"
)

// The default reserve is a hundredth of the filesystem within these bounds, but
// at most an eighth of a small one.
const (
	minReserve = 64 * capstan.MiB
	maxReserve = capstan.GiB
)

// checkEvery bounds how much is written between two looks at the free space.
const checkEvery = 16 * capstan.MiB

func (v *Volume) chooseReserve(wanted capstan.Bytes) (capstan.Bytes, error) {
	switch {
	case wanted < 0:
		return 0, nil
	case wanted > 0:
		return wanted, nil
	}
	space, err := v.disk.Space(v.path)
	if err != nil {
		return 0, err
	}
	return defaultReserve(space.Total), nil
}

func defaultReserve(total capstan.Bytes) capstan.Bytes {
	return min(max(total/100, minReserve), maxReserve, total/8)
}

// Free is what the filesystem has free for this user, less the reserve, and at
// least 0.
//
// The reserve is kept from archives alone: the small files that make a set
// readable (manifest, sums, RESTORE.txt) may use it, so that a volume which
// archives have filled can still be told what it holds.
func (v *Volume) Free(ctx context.Context) (capstan.Bytes, error) {
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	if err := v.present(); err != nil {
		return 0, err
	}
	free, err := v.disk.Free(v.path)
	return max(free-v.reserve, 0), err
}

// room refuses the next n bytes of an archive when they would reach into the
// reserve; else it says after how many bytes to ask again. Half of what is left
// is a step that never oversteps, whoever else writes meanwhile at most as much.
func (v *Volume) room(name string, n int) (capstan.Bytes, error) {
	free, err := v.disk.Free(v.path)
	if err != nil {
		return 0, err
	}
	if left := free - v.reserve; left >= capstan.Bytes(n) {
		return min(checkEvery, left/2), nil
	}
	return 0, &capstan.Error{
		Class: capstan.ErrNoSpace, Op: "write " + name + " to volume", Object: fmt.Sprintf("%s (%s)", v.path, v.info.ID),
		Err:  fmt.Errorf("%s free, of which %s are kept in reserve, and %s more are needed at once", free, v.reserve, capstan.Bytes(n)),
		Safe: "the finished files on it are whole",
		Next: "make room there or name another volume, then run the job again: it goes on with what is finished",
	}
}
