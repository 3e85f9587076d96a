package pg

import (
	"fmt"
	"runtime"
)

const (
	defaultMaxJobs = 4
	maxJobs        = 64
)

// Jobs is how many sessions work at the same time: as many as were asked for, from 1 to
// 64, or for 0 as many as this machine has cores, at most 4.
func Jobs(asked int) (int, error) {
	if asked < 0 || asked > maxJobs {
		return 0, fmt.Errorf("--jobs is %d, not from 1 to %d", asked, maxJobs)
	}
	if asked == 0 {
		return min(runtime.NumCPU(), defaultMaxJobs), nil
	}
	return asked, nil
}
