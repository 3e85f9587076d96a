package catalog

// Directories. Id 0 is the root of a set and its own parent.
const (
	sqlInsertDir  = `INSERT INTO dirs (set_no, id, parent, name) VALUES (?, ?, ?, ?)`
	sqlLastDir    = `SELECT coalesce(max(id), 0) FROM dirs WHERE set_no = ?`
	sqlDir        = `SELECT parent, name FROM dirs WHERE set_no = ? AND id = ?`
	sqlChildOf    = `SELECT child FROM entries WHERE set_no = ? AND dir = ? AND name = ?`
	sqlGiveChild  = `UPDATE entries SET child = ? WHERE set_no = ? AND dir = ? AND name = ?`
	sqlDeleteDirs = `DELETE FROM dirs WHERE set_no = ? AND id > ? AND id <= ?`
	sqlDropDir    = `DELETE FROM dirs WHERE set_no = ? AND id = ?`
)

// Origins.
const (
	originColumns   = `uid, gid, user_name, group_name, dev`
	sqlFindOrigin   = `SELECT no FROM origins WHERE uid = ? AND gid = ? AND user_name = ? AND group_name = ? AND dev = ?`
	sqlInsertOrigin = `INSERT INTO origins (no, ` + originColumns + `) VALUES (?, ?, ?, ?, ?, ?)`
	sqlNextOrigin   = `SELECT coalesce(max(no), 0) + 1 FROM origins`
	sqlOrigin       = `SELECT ` + originColumns + ` FROM origins WHERE no = ?`
)

// Entries. insertEntries and the like are repeated for as many rows as a
// statement takes.
const (
	entryColumns      = `dir, name, kind, outcome, archive, size, child, attrs`
	sqlInsertEntries  = `INSERT INTO entries (set_no, ` + entryColumns + `) VALUES `
	sqlEntryRow       = `(?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlInsertDirs     = `INSERT INTO dirs (set_no, id, parent, name) VALUES `
	sqlDirRow         = `(?, ?, ?, ?)`
	sqlHasEntries     = `SELECT 1 FROM entries WHERE set_no = ? LIMIT 1`
	sqlTakenNames     = `SELECT name, outcome, archive, child FROM entries WHERE set_no = ? AND dir = ? AND name IN (`
	sqlDeleteNames    = `DELETE FROM entries WHERE set_no = ? AND dir = ? AND name IN (`
	sqlDropPieces     = `DELETE FROM pieces WHERE set_no = ? AND dir = ? AND name IN (`
	sqlInsertPiece    = `INSERT INTO pieces (set_no, dir, name, archive) VALUES (?, ?, ?, ?)`
	sqlHasPieces      = `SELECT 1 FROM pieces WHERE set_no = ? LIMIT 1`
	sqlInsertNotables = `INSERT INTO notable (set_no, outcome, dir, name) VALUES `
	sqlNotableRow     = `(?, ?, ?, ?)`
	sqlDeleteNotable  = `DELETE FROM notable WHERE set_no = ? AND outcome = ? AND dir = ? AND name = ?`
)

// Reading entries.
const (
	sqlEntry  = `SELECT ` + entryColumns + ` FROM entries WHERE set_no = ? AND dir = ? AND name = ?`
	sqlPage   = `SELECT ` + entryColumns + ` FROM entries WHERE set_no = ? AND dir = ? AND name > ? ORDER BY name LIMIT ?`
	sqlPageOn = `SELECT ` + entryColumns + ` FROM entries WHERE set_no = ? AND (dir, name) > (?, ?) ORDER BY dir, name LIMIT ?`
	sqlCount  = `SELECT
		coalesce(sum(CASE WHEN outcome = 1 THEN 1 ELSE 0 END), 0),
		coalesce(sum(CASE WHEN outcome = 2 THEN 1 ELSE 0 END), 0),
		coalesce(sum(CASE WHEN outcome = 3 THEN 1 ELSE 0 END), 0),
		coalesce(sum(CASE WHEN outcome = 4 THEN 1 ELSE 0 END), 0),
		coalesce(sum(CASE WHEN outcome = 5 THEN 1 ELSE 0 END), 0),
		coalesce(sum(CASE WHEN outcome = 6 THEN 1 ELSE 0 END), 0),
		coalesce(sum(CASE WHEN outcome = 7 THEN 1 ELSE 0 END), 0),
		CAST(coalesce(sum(CASE WHEN outcome IN (1, 2, 3) AND kind = 1 THEN size ELSE 0 END), 0) AS BIGINT)
		FROM entries WHERE set_no = ?
		AND archive NOT IN (SELECT number FROM archives WHERE set_no = ? AND committed = 0)`
	sqlNotable = `SELECT dir, name FROM notable WHERE set_no = ? AND outcome = ? AND (dir, name) > (?, ?) ORDER BY dir, name LIMIT ?`
)

// Searching. The first directory is the outer loop, so that a name or the
// beginning of one costs a look-up for each directory, not for each entry.
const (
	sqlFindRange = `SELECT e.dir, e.name FROM dirs d CROSS JOIN entries e
		WHERE d.set_no = ? AND (d.id > ? OR (d.id = ? AND e.name > ?)) AND d.id >= ?
		AND e.set_no = d.set_no AND e.dir = d.id AND e.name >= ? AND e.name < ?
		ORDER BY d.id, e.name LIMIT ?`
	sqlFindSuffix = `SELECT dir, name FROM entries WHERE set_no = ? AND (dir, name) > (?, ?)
		AND length(name) > ? AND substr(name, length(name) - ?) = ? ORDER BY dir, name LIMIT ?`
	sqlFindAll = `SELECT dir, name FROM entries WHERE set_no = ? AND (dir, name) > (?, ?) ORDER BY dir, name LIMIT ?`
)

// Removing, in transactions of bounded size: a range of keys at a time.
const (
	sqlRangeEnd = `SELECT dir, name FROM entries WHERE set_no = ? AND (dir, name) > (?, ?)
		ORDER BY dir, name LIMIT 1 OFFSET ?`
	sqlRangeStart = `SELECT dir, name FROM entries WHERE set_no = ? AND (dir, name) < (?, ?)
		ORDER BY dir DESC, name DESC LIMIT 1 OFFSET ?`
	sqlUnsealed = `set_no = ? AND (dir, name) >= (?, ?) AND (dir, name) < (?, ?)
		AND (archive = 0 OR archive IN (SELECT number FROM archives WHERE set_no = ? AND committed = 0))`
	sqlCountUnsealed  = `SELECT count(*) FROM entries WHERE archive > 0 AND ` + sqlUnsealed
	sqlDeleteUnsealed = `DELETE FROM entries WHERE child IS NULL AND ` + sqlUnsealed
	sqlDirsUnsealed   = `SELECT dir, name, child FROM entries WHERE child IS NOT NULL AND ` + sqlUnsealed + ` ORDER BY dir DESC, name DESC`
	sqlDropEmptyDir   = `DELETE FROM entries WHERE set_no = ? AND dir = ? AND name = ?
		AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.set_no = ? AND e.dir = ?)`
	sqlImplyDir    = `UPDATE entries SET kind = 2, outcome = 0, archive = 0, size = 0, attrs = ? WHERE set_no = ? AND dir = ? AND name = ?`
	sqlDropNotable = `DELETE FROM notable WHERE outcome = ? AND set_no = ? AND (dir, name) >= (?, ?) AND (dir, name) < (?, ?)
		AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.set_no = notable.set_no AND e.dir = notable.dir
			AND e.name = notable.name AND e.outcome = notable.outcome)`
	sqlPiecesUnsealed = `SELECT DISTINCT dir, name FROM pieces
		WHERE set_no = ? AND archive IN (SELECT number FROM archives WHERE set_no = ? AND committed = 0)`
	sqlDropLostPieces = `DELETE FROM pieces WHERE set_no = ? AND NOT EXISTS (SELECT 1 FROM entries e
		WHERE e.set_no = pieces.set_no AND e.dir = pieces.dir AND e.name = pieces.name AND e.archive > 0)`
	sqlArchiveOf       = `SELECT archive FROM entries WHERE set_no = ? AND dir = ? AND name = ?`
	sqlDeleteEntry     = `DELETE FROM entries WHERE set_no = ? AND dir = ? AND name = ?`
	sqlDeleteRange     = `DELETE FROM entries WHERE set_no = ? AND (dir, name) > (?, ?) AND (dir, name) <= (?, ?)`
	sqlDeleteAfter     = `DELETE FROM entries WHERE set_no = ? AND (dir, name) > (?, ?)`
	sqlDeleteNotables  = `DELETE FROM notable WHERE set_no = ?`
	sqlDeletePieces    = `DELETE FROM pieces WHERE set_no = ?`
	sqlDeleteAllDirs   = `DELETE FROM dirs WHERE set_no = ?`
	sqlUncommitArchive = `UPDATE archives SET committed = 0 WHERE set_no = ? AND number = ?`
)

// Checking.
const (
	sqlNextEntrySet   = `SELECT set_no FROM entries WHERE set_no > ? ORDER BY set_no LIMIT 1`
	sqlNextDirSet     = `SELECT set_no FROM dirs WHERE set_no > ? ORDER BY set_no LIMIT 1`
	sqlNextNotableSet = `SELECT set_no FROM notable WHERE set_no > ? ORDER BY set_no LIMIT 1`
	sqlNextPieceSet   = `SELECT set_no FROM pieces WHERE set_no > ? ORDER BY set_no LIMIT 1`
	sqlSetNoKnown     = `SELECT 1 FROM sets WHERE no = ? AND phase <> 3`
	sqlArchiveChecks  = `SELECT number, committed, entries, held FROM archives WHERE set_no = ?`
	sqlEarlyCopies    = `SELECT count(*) FROM copies c JOIN archives a ON a.set_no = c.set_no AND a.number = c.number
		WHERE c.set_no = ? AND a.committed = 0 AND c.state IN ('written', 'verified')`
	sqlAllEntries    = `SELECT ` + entryColumns + ` FROM entries WHERE set_no = ? ORDER BY dir, name`
	sqlCountDirs     = `SELECT count(*) FROM dirs WHERE set_no = ? AND id > 0`
	sqlCountNotable  = `SELECT count(*) FROM notable WHERE set_no = ?`
	sqlCountLostDirs = `SELECT count(*) FROM dirs d WHERE d.set_no = ? AND d.id > 0 AND (d.parent >= d.id OR NOT EXISTS (
		SELECT 1 FROM entries e WHERE e.set_no = d.set_no AND e.dir = d.parent AND e.name = d.name AND e.child = d.id))`
	sqlCountLostPieces = `SELECT count(*) FROM pieces WHERE set_no = ? AND NOT EXISTS (SELECT 1 FROM entries e
		WHERE e.set_no = pieces.set_no AND e.dir = pieces.dir AND e.name = pieces.name AND e.archive > 0)`
	sqlCountOrphans = `SELECT count(*) FROM entries e WHERE e.set_no = ?
		AND NOT EXISTS (SELECT 1 FROM dirs d WHERE d.set_no = ? AND d.id = e.dir)`
)
