package catalog

import (
	"database/sql"
	"strings"
	"testing"
)

// TestPlans holds the statements that run for every directory, page or range to
// the primary key: a plan that reads a whole table, or sorts, would be fast in
// every other test and useless at ten million entries.
func TestPlans(t *testing.T) {
	t.Parallel()
	c, _ := limited(t)
	taken, _ := nameQuery(sqlTakenNames, 50)
	deleted, _ := nameQuery(sqlDeleteNames, 50)
	pieces, _ := nameQuery(sqlDropPieces, 50)
	for name, query := range map[string]string{
		"page": sqlPage, "page on": sqlPageOn, "entry": sqlEntry, "child": sqlChildOf, "taken": taken, "delete names": deleted, "drop pieces": pieces,
		"notable": sqlNotable, "find range": sqlFindRange, "find suffix": sqlFindSuffix, "find all": sqlFindAll,
		"range end": sqlRangeEnd, "range start": sqlRangeStart, "count unsealed": sqlCountUnsealed, "delete unsealed": sqlDeleteUnsealed,
		"dirs unsealed": sqlDirsUnsealed, "empty dir": sqlDropEmptyDir, "drop notable": sqlDropNotable, "delete range": sqlDeleteRange,
		"dir": sqlDir, "last dir": sqlLastDir, "next set": sqlNextEntrySet, "lost dirs": sqlCountLostDirs, "orphans": sqlCountOrphans,
		"has entries": sqlHasEntries, "uncommitted": sqlUncommitted, "copies": sqlCopies, "runs of set": sqlRunsOfSet, "runs of job": sqlRunsOfJob,
		"next in state": sqlNextInState, "next due": sqlNextDue, "next retry": sqlNextRetry, "queued": sqlQueued, "copies of": sqlCopiesOf,
		"fail copy": sqlFailCopy, "fail waiting": sqlFailWaiting, "requeue": sqlRequeueCopies, "abandon": sqlAbandonCopies,
		"missing": sqlMissingCopies, "unwritten": sqlUnwritten, "awaited": sqlAwaited, "good": sqlGood, "unmet": sqlUnmet, "demands": sqlDemands,
		"stage at": sqlStageAt,
	} {
		args := make([]any, strings.Count(query, "?"))
		for i := range args {
			args[i] = 1
		}
		err := each(t.Context(), c.reads, "EXPLAIN QUERY PLAN "+query, args, func(rows *sql.Rows) error {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				return err
			}
			if strings.HasPrefix(detail, "SCAN") || strings.Contains(detail, "TEMP B-TREE") {
				t.Errorf("%s: %s", name, detail)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
