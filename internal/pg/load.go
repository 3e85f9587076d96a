package pg

import (
	"fmt"
	"strings"
)

// Load is how much a server has to do beside us, as one look has seen it.
type Load struct {
	Active int // sessions of others that carry a statement out at this moment
	Free   int // connections that an ordinary role can still make
}

// LoadQuery gives the two numbers of a Load. A role without pg_read_all_stats does not
// see what other roles do, and counts none of them.
const LoadQuery = `SELECT (SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()),
	current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
		- coalesce(current_setting('reserved_connections', true), '0')::bigint - (SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database)::bigint`

const (
	activePerJob = 4 // active sessions of others that make us do with one less
	leftFree     = 3 // connections that are left for others
)

// FitJobs is how many sessions work at the same time when nobody said a number: as many
// as there are cores, at most 4; one less for every four sessions that are active at the
// server; and no more than it has connections for, with three left for others. beside are
// the sessions that the work needs beside those. It is at least 1, and why tells what made
// it less than the cores would.
func FitJobs(cores int, load Load, beside int) (jobs int, why string) {
	jobs = max(min(cores, defaultMaxJobs), 1)
	var reasons []string
	if less := load.Active / activePerJob; less > 0 && jobs > 1 {
		jobs = max(jobs-less, 1)
		reasons = append(reasons, fmt.Sprintf("%d sessions are active at the server", load.Active))
	}
	if room := max(load.Free-beside-leftFree, 1); room < jobs {
		jobs = room
		reasons = append(reasons, fmt.Sprintf("the server has %d connections free", load.Free))
	}
	return jobs, strings.Join(reasons, ", ")
}
