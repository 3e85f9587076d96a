package catalog

// The statements here and in statements_entries.go run on SQLite, PostgreSQL
// and openGauss alike: SELECT, INSERT, UPDATE, DELETE of SQL-92 with row values,
// parameters as question marks; no upsert, no RETURNING, no function that only
// one of them has. New numbers are max+1 within a write transaction.

// Jobs.
const (
	sqlUpdateJob = `UPDATE jobs SET name = ?, sources = ?, volumes = ?, changed = ? WHERE id = ?`
	sqlInsertJob = `INSERT INTO jobs (name, sources, volumes, changed, id) VALUES (?, ?, ?, ?, ?)`
	sqlEnsureJob = `INSERT INTO jobs (id, name, sources, volumes, changed)
		SELECT ?, '', ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?)`
	sqlSameJob = `SELECT 1 FROM jobs WHERE id = ? AND name = ? AND sources = ? AND volumes = ?`
	sqlJobs    = `SELECT id, name, sources, volumes FROM jobs ORDER BY id`
)

// Volumes.
const (
	volumeColumns    = `id, kind, location, created`
	sqlUpdateVolume  = `UPDATE volumes SET kind = ?, location = ?, created = ?, seen = ? WHERE id = ?`
	sqlInsertVolume  = `INSERT INTO volumes (kind, location, created, seen, id) VALUES (?, ?, ?, ?, ?)`
	sqlVolumes       = `SELECT ` + volumeColumns + ` FROM volumes ORDER BY created, id`
	sqlVolume        = `SELECT ` + volumeColumns + ` FROM volumes WHERE id = ?`
	sqlVolumesAt     = `SELECT ` + volumeColumns + ` FROM volumes WHERE id = (SELECT volume FROM places WHERE location = ?)`
	sqlUpdatePlace   = `UPDATE places SET volume = ? WHERE location = ?`
	sqlInsertPlace   = `INSERT INTO places (volume, location) VALUES (?, ?)`
	sqlInsertSums    = `INSERT INTO sums (no, volume, set_id, hash, at_time) SELECT coalesce(max(no), 0) + 1, ?, ?, ?, ? FROM sums`
	sqlLastSums      = `SELECT set_id, hash FROM sums WHERE volume = ? AND set_id <> ? ORDER BY no DESC LIMIT 1`
	sqlSums          = `SELECT hash FROM sums WHERE volume = ? AND set_id = ? ORDER BY no DESC LIMIT 1`
	sqlSumsVolumes   = `SELECT volume FROM sums WHERE set_id = ? GROUP BY volume ORDER BY max(no) DESC`
	sqlAllSums       = `SELECT volume, set_id, hash, at_time FROM sums ORDER BY no`
	sqlInsertAudit   = `INSERT INTO audit (no, at_time, action, object, detail) SELECT coalesce(max(no), 0) + 1, ?, ?, ?, ? FROM audit`
	sqlAudit         = `SELECT no, at_time, action, object, detail FROM audit WHERE no > ? ORDER BY no LIMIT ?`
	sqlVolumeLastSet = `SELECT 1 FROM sums WHERE volume = ? AND set_id = ? AND hash = ?
		AND no = (SELECT max(no) FROM sums WHERE volume = ?)`
)

// Sets. What is being imported or deleted (phase <> 0) is not there for people.
const (
	// setOrder is the order of time, the newest set first: a consolidated set stands right
	// after the one whose tree it holds.
	setOrder = `ORDER BY CASE consolidates WHEN '' THEN month ELSE substr(consolidates, 1, 7) END DESC,
		CASE consolidates WHEN '' THEN number ELSE CAST(substr(consolidates, 9) AS BIGINT) END DESC, month DESC, number DESC`
	setColumns = `no, id, job, base, consolidates, claim, status, started, finished, codec, recipients, host, sources, forgotten,
		entries, stored, changed, unchanged, excluded, vanished, failed, deleted, bytes_in, bytes_out`
	sqlTakeNumber    = `UPDATE counters SET last = last + 1 WHERE name = ?`
	sqlFirstNumber   = `INSERT INTO counters (name, last) VALUES (?, 1)`
	sqlLastNumber    = `SELECT last FROM counters WHERE name = ?`
	sqlNumberTaken   = `UPDATE counters SET last = ? WHERE name = ? AND last < ?`
	sqlMonthKnown    = `INSERT INTO counters (name, last) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM counters WHERE name = ?)`
	sqlStillThere    = `SELECT 1 FROM sets WHERE no = ? AND phase = 0`
	sqlInsertSet     = `INSERT INTO sets (month, number, phase, ` + setColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlSet           = `SELECT ` + setColumns + ` FROM sets WHERE id = ? AND phase = 0`
	sqlSetAnyPhase   = `SELECT no, phase, status, forgotten FROM sets WHERE id = ?`
	sqlSets          = `SELECT ` + setColumns + ` FROM sets WHERE phase = 0 ` + setOrder
	sqlSetsOfJob     = `SELECT ` + setColumns + ` FROM sets WHERE phase = 0 AND job = ? ` + setOrder
	sqlOpenSets      = `SELECT ` + setColumns + ` FROM sets WHERE phase = 0 AND job = ? AND status IN ('running', 'interrupted') ORDER BY month DESC, number DESC`
	sqlLatest        = `SELECT ` + setColumns + ` FROM sets WHERE phase = 0 AND forgotten = 0 AND status IN ('complete', 'partial') ` + setOrder + ` LIMIT 1`
	sqlLatestOfJob   = `SELECT ` + setColumns + ` FROM sets WHERE phase = 0 AND forgotten = 0 AND status IN ('complete', 'partial') AND job = ? ` + setOrder + ` LIMIT 1`
	sqlFinishSet     = `UPDATE sets SET status = ?, finished = ?, entries = ?, stored = ?, changed = ?, unchanged = ?, excluded = ?, vanished = ?, failed = ?, deleted = ?, bytes_in = ?, bytes_out = ? WHERE no = ?`
	sqlSetBase       = `UPDATE sets SET base = ? WHERE no = ?`
	sqlSetEncrypted  = `UPDATE sets SET recipients = ? WHERE no = ?`
	sqlSetPhase      = `UPDATE sets SET phase = ? WHERE no = ?`
	sqlSetsInPhase   = `SELECT no FROM sets WHERE phase = ? ORDER BY no`
	sqlForgetSet     = `UPDATE sets SET forgotten = ? WHERE no = ?`
	sqlForgetDemands = `UPDATE demands SET state = 'forgotten' WHERE set_no = ?`
	sqlForgetCopies  = `UPDATE copies SET state = 'forgotten', changed = ?, problem = '' WHERE set_no = ? AND state <> 'forgotten'`
	sqlForgotten     = `SELECT no, id, job, claim, started, forgotten, phase FROM sets WHERE forgotten <> 0
		AND (phase IN (0, 2) OR (phase = 3 AND EXISTS (SELECT 1 FROM demands WHERE set_no = no))) ORDER BY month, number`
	sqlForgottenAt = `SELECT forgotten FROM sets WHERE id = ? AND forgotten <> 0`
	sqlForgottenNo = `SELECT 1 FROM sets WHERE no = ? AND forgotten <> 0`
	sqlDeleteSet   = `DELETE FROM sets WHERE no = ?`
	sqlSetIsEmpty  = `SELECT 1 FROM sets WHERE no = ?
		AND NOT EXISTS (SELECT 1 FROM archives WHERE set_no = no)
		AND NOT EXISTS (SELECT 1 FROM entries WHERE set_no = no)`
)

// Rotations.
const (
	sqlInsertRotation = `INSERT INTO rotations (set_no, recipients) VALUES (?, ?)`
	sqlRotation       = `SELECT recipients FROM rotations WHERE set_no = ?`
	sqlDeleteRotation = `DELETE FROM rotations WHERE set_no = ?`
	sqlUpdateRewrap   = `UPDATE rewraps SET header = ?, size = ?, hash = ? WHERE set_no = ? AND volume = ? AND name = ?`
	sqlInsertRewrap   = `INSERT INTO rewraps (header, size, hash, set_no, volume, name) VALUES (?, ?, ?, ?, ?, ?)`
	sqlDeleteRewrap   = `DELETE FROM rewraps WHERE set_no = ? AND volume = ? AND name = ?`
	sqlRewraps        = `SELECT volume, name, header, size, hash FROM rewraps WHERE set_no = ? ORDER BY volume, name`
	sqlDeleteRewraps  = `DELETE FROM rewraps WHERE set_no = ?`
	sqlRotateArchives = `UPDATE archives SET size = ?, hash = ? WHERE set_no = ? AND name = ?`
	sqlRotateSums     = `UPDATE sums SET hash = ? WHERE volume = ? AND set_id = ?`
	sqlRotateCopies   = `UPDATE copies SET state = 'written', changed = ?, verified = 0 WHERE set_no = ? AND volume = ? AND state = 'verified'
		AND number IN (SELECT a.number FROM archives a WHERE a.set_no = ? AND a.name = ?)`
)

// Drills.
const (
	sqlDrills      = `SELECT s.id, d.dump, d.outcome, d.at_time, d.proven, d.tables, d.row_count FROM drills d, sets s WHERE d.set_no = s.no ORDER BY s.month, s.number, d.dump`
	sqlUpdateDrill = `UPDATE drills SET outcome = ?, at_time = ?, tables = ?, row_count = ? WHERE set_no = ? AND dump = ?`
	sqlInsertDrill = `INSERT INTO drills (outcome, at_time, tables, row_count, set_no, dump, proven) VALUES (?, ?, ?, ?, ?, ?, 0)`
	sqlExpectDrill = `INSERT INTO drills (outcome, at_time, tables, row_count, set_no, dump, proven)
		SELECT 'none', 0, 0, 0, ?, ?, 0 WHERE NOT EXISTS (SELECT 1 FROM drills WHERE set_no = ? AND dump = ?)`
	sqlDrillProven  = `UPDATE drills SET proven = ? WHERE set_no = ? AND dump = ?`
	sqlDeleteDrills = `DELETE FROM drills WHERE set_no = ?`
)

// Retention.
const (
	sqlRetained = `SELECT no, id, base, consolidates, started, status, failed FROM sets WHERE phase = 0 AND forgotten = 0 AND job = ? ORDER BY month, number`
	sqlLacking  = `SELECT DISTINCT a.set_no FROM archives a, sets s WHERE a.set_no = s.no AND s.job = ? AND a.committed = 1
		AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.set_no = a.set_no AND c.number = a.number AND c.state IN ('written', 'verified'))`
	sqlResting      = `SELECT d.set_no, d.volume FROM demands d, sets s WHERE d.set_no = s.no AND s.job = ? AND d.state = 'written' ORDER BY d.set_no, d.volume`
	sqlWaiting      = `SELECT DISTINCT d.set_no FROM demands d, sets s WHERE d.set_no = s.no AND s.job = ? AND d.state NOT IN ('written', 'forgotten')`
	sqlInUse        = `SELECT s.no FROM runs r, sets s WHERE r.set_id = s.id AND s.job = ? AND r.status = 'running'`
	sqlPinned       = `SELECT p.set_no FROM pins p, sets s WHERE p.set_no = s.no AND s.job = ?`
	sqlPins         = `SELECT s.id, p.who, p.why, p.at_time FROM pins p, sets s WHERE p.set_no = s.no ORDER BY s.month, s.number`
	sqlUpdatePin    = `UPDATE pins SET who = ?, why = ?, at_time = ? WHERE set_no = ?`
	sqlInsertPin    = `INSERT INTO pins (who, why, at_time, set_no) VALUES (?, ?, ?, ?)`
	sqlDeletePin    = `DELETE FROM pins WHERE set_no = ?`
	sqlDemandCopies = `INSERT INTO demands (set_no, volume, state) SELECT DISTINCT c.set_no, c.volume, 'forgotten' FROM copies c WHERE c.set_no = ?
		AND NOT EXISTS (SELECT 1 FROM demands d WHERE d.set_no = c.set_no AND d.volume = c.volume)`
	sqlDemandsOfJob   = `SELECT d.set_no, d.volume, d.state FROM demands d, sets s WHERE d.set_no = s.no AND s.job = ?`
	sqlArchivesOfJob  = `SELECT a.set_no, a.number FROM archives a, sets s WHERE a.set_no = s.no AND s.job = ? AND a.committed = 1`
	sqlGoodOfJob      = `SELECT c.set_no, c.number, c.volume FROM copies c, sets s WHERE c.set_no = s.no AND s.job = ? AND c.state IN ('written', 'verified')`
	sqlReleaseDemand  = `UPDATE demands SET state = 'forgotten' WHERE set_no = ? AND volume = ? AND state <> 'forgotten'`
	sqlReleaseCopies  = `UPDATE copies SET state = 'forgotten', changed = ?, problem = '' WHERE set_no = ? AND volume = ? AND state <> 'forgotten'`
	sqlRelease        = `INSERT INTO released (set_no, volume) VALUES (?, ?)`
	sqlIsReleased     = `SELECT 1 FROM released WHERE set_no = ? AND volume = ?`
	sqlReleased       = `SELECT s.id, s.job, s.claim, s.started, r.volume FROM released r, sets s WHERE r.set_no = s.no AND s.phase = 0 AND s.forgotten = 0 ORDER BY s.month, s.number, r.volume`
	sqlDropReleased   = `DELETE FROM released WHERE set_no = ? AND volume = ?`
	sqlDeleteReleased = `DELETE FROM released WHERE set_no = ?`
	sqlDropDemand     = `DELETE FROM demands WHERE set_no = ? AND volume = ?`
	sqlDropCopies     = `DELETE FROM copies WHERE set_no = ? AND volume = ?`
	sqlLeftOfGoneSets = `SELECT count(*) FROM archives a, sets s WHERE a.set_no = s.no AND s.phase = 3`
)

// Runs.
const (
	runColumns       = `id, set_id, job, kind, pid, host, machine, boot, space, process, status, started, finished, beat, cancel, cancel_by, progress, counts, summary`
	sqlNextRun       = `SELECT coalesce(max(id), 0) + 1 FROM runs`
	sqlInsertRun     = `INSERT INTO runs (` + runColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, '', NULL, '{}', NULL)`
	sqlFinishRun     = `UPDATE runs SET status = ?, finished = ?, counts = ?, summary = ? WHERE id = ?`
	sqlHeartbeat     = `UPDATE runs SET beat = ?, progress = ? WHERE id = ?`
	sqlRequestCancel = `UPDATE runs SET cancel = ?, cancel_by = ? WHERE id = ? AND status = 'running' AND cancel = 0`
	sqlCancelled     = `SELECT cancel, cancel_by FROM runs WHERE id = ?`
	sqlRun           = `SELECT ` + runColumns + ` FROM runs WHERE id = ?`
	sqlRuns          = `SELECT ` + runColumns + ` FROM runs WHERE id < ? ORDER BY id DESC LIMIT ?`
	sqlRunsOfJob     = `SELECT ` + runColumns + ` FROM runs WHERE job = ? AND id < ? ORDER BY id DESC LIMIT ?`
	sqlRunsOfSet     = `SELECT ` + runColumns + ` FROM runs WHERE set_id = ? AND id < ? ORDER BY id DESC LIMIT ?`
	sqlInterruptRuns = `UPDATE runs SET status = 'interrupted', finished = ? WHERE job = ? AND kind = ? AND status = 'running'`
	sqlInterruptRun  = `UPDATE runs SET status = 'interrupted', finished = ? WHERE id = ? AND status = 'running'`
	sqlInterruptSet  = `UPDATE sets SET status = 'interrupted', finished = ? WHERE id = ? AND phase = 0 AND status = 'running'
		AND NOT EXISTS (SELECT 1 FROM runs WHERE set_id = ? AND status = 'running')`
	sqlRunningOfJob   = `SELECT count(*) FROM runs WHERE job = ? AND status = 'running'`
	sqlUnfinishedRuns = `SELECT ` + runColumns + ` FROM runs WHERE status = 'running' AND id < ? ORDER BY id DESC LIMIT ?`
)

// Archives and copies.
const (
	archiveColumns    = `number, name, codec, entries, tar_size, size, hash`
	sqlNextArchive    = `SELECT coalesce(max(number), 0) + 1 FROM archives WHERE set_no = ?`
	sqlInsertArchive  = `INSERT INTO archives (set_no, committed, held, ` + archiveColumns + `) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?)`
	sqlCommitArchive  = `UPDATE archives SET committed = 1, entries = ?, tar_size = ?, size = ?, hash = ? WHERE set_no = ? AND number = ? AND committed = 0`
	sqlArchive        = `SELECT ` + archiveColumns + ` FROM archives WHERE set_no = ? AND number = ? AND committed = 1`
	sqlArchives       = `SELECT ` + archiveColumns + ` FROM archives WHERE set_no = ? AND committed = 1 ORDER BY number`
	sqlAddHeld        = `UPDATE archives SET held = held + ? WHERE set_no = ? AND number = ?`
	sqlUncommitted    = `SELECT number FROM archives WHERE set_no = ? AND committed = 0 ORDER BY number`
	sqlArchiveTotals  = `SELECT a.set_no, count(*), CAST(sum(a.size) AS BIGINT) FROM archives a WHERE a.committed = 1 GROUP BY a.set_no`
	sqlArchiveBytes   = `SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM archives WHERE set_no = ? AND committed = 1`
	sqlDeleteArchive  = `DELETE FROM archives WHERE set_no = ? AND number = ?`
	sqlDeleteArchives = `DELETE FROM archives WHERE set_no = ?`
	copyColumns       = `number, volume, state, changed, verified, attempts, retry, problem`
	sqlUpdateCopy     = `UPDATE copies SET state = ?, changed = ?, problem = ? WHERE set_no = ? AND number = ? AND volume = ?`
	sqlInsertCopy     = `INSERT INTO copies (state, changed, problem, set_no, number, volume, verified, attempts, retry) VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0)`
	sqlCopyVerified   = `UPDATE copies SET verified = ? WHERE set_no = ? AND number = ? AND volume = ?`
	sqlCopyKnown      = `SELECT 1 FROM copies WHERE set_no = ? AND number = ? AND volume = ?`
	sqlCopies         = `SELECT ` + copyColumns + ` FROM copies WHERE set_no = ? ORDER BY number, volume`
	sqlCopyTotals     = `SELECT set_no, volume, state, count(*) FROM copies GROUP BY set_no, volume, state ORDER BY set_no, volume, state`
	sqlCopiesOf       = `SELECT ` + copyColumns + ` FROM copies WHERE set_no = ? AND number = ? ORDER BY volume`
	sqlDeleteCopies   = `DELETE FROM copies WHERE set_no = ?`
	sqlDeleteCopiesOf = `DELETE FROM copies WHERE set_no = ? AND number = ?`
	sqlAllUncommitted = `SELECT 1 FROM archives WHERE set_no = ? AND committed = 0 LIMIT 1`
	sqlUnrecorded     = `SELECT number, entries, held,
		(SELECT count(*) FROM pieces p WHERE p.set_no = a.set_no AND p.archive = a.number)
		FROM archives a WHERE set_no = ? AND committed = 1 ORDER BY number DESC`
	sqlHasSplitEnd = `SELECT 1 FROM pieces p JOIN entries e ON e.set_no = p.set_no AND e.dir = p.dir AND e.name = p.name
		WHERE p.set_no = ? AND e.archive = ? LIMIT 1`
	sqlArchiveKnown = `SELECT committed, name, size, hash FROM archives WHERE set_no = ? AND number = ?`
)

// The queue: copies that volumes have yet to get. A copy that is being written
// when its process dies is taken up again like one that is queued. Each state is
// asked for by itself: then an index gives the first archive, however many there are.
const (
	queuedColumns  = `a.number, a.name, a.codec, a.entries, a.tar_size, a.size, a.hash, c.attempts`
	sqlNextInState = `SELECT ` + queuedColumns + ` FROM copies c, archives a
		WHERE c.volume = ? AND c.state = ? AND c.set_no = ? AND a.set_no = c.set_no AND a.number = c.number AND a.committed = 1
		ORDER BY c.number LIMIT 1`
	sqlNextDue = `SELECT ` + queuedColumns + ` FROM copies c, archives a
		WHERE c.volume = ? AND c.state = 'failed' AND c.set_no = ? AND c.retry > 0 AND c.retry <= ?
		AND a.set_no = c.set_no AND a.number = c.number AND a.committed = 1
		ORDER BY c.number LIMIT 1`
	sqlNextRetry = `SELECT coalesce(min(retry), 0) FROM copies WHERE set_no = ? AND volume = ? AND state = 'failed' AND retry > 0`
	sqlQueued    = `SELECT count(*) FROM copies WHERE set_no = ? AND volume = ? AND state IN ('sealed', 'queued', 'writing')`
	sqlFailCopy  = `UPDATE copies SET state = 'failed', changed = ?, problem = ?, retry = ?, attempts = attempts + 1
		WHERE set_no = ? AND number = ? AND volume = ?`
	sqlFailWaiting = `UPDATE copies SET state = 'failed', changed = ?, problem = ?, retry = 0
		WHERE set_no = ? AND volume = ? AND (state IN ('sealed', 'queued', 'writing') OR (state = 'failed' AND retry > 0))`
	sqlRequeueCopies = `UPDATE copies SET state = 'queued', changed = ?, problem = '', retry = 0, attempts = 0
		WHERE set_no = ? AND volume = ? AND state NOT IN ('queued', 'written', 'verified')
		AND number IN (SELECT number FROM archives WHERE set_no = ? AND committed = 1)`
	sqlAbandonCopies = `UPDATE copies SET state = 'forgotten', changed = ?, retry = 0
		WHERE set_no = ? AND volume = ? AND state NOT IN ('written', 'verified', 'forgotten')`
	sqlMissingCopies = `SELECT a.number FROM archives a WHERE a.set_no = ? AND a.committed = 1
		AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.set_no = a.set_no AND c.number = a.number AND c.volume = ?)`
	sqlUnwritten = `SELECT number, state FROM copies WHERE set_no = ? AND volume = ? AND state NOT IN ('written', 'verified') ORDER BY number LIMIT 1`
	sqlAwaited   = `SELECT 1 FROM copies WHERE set_no = ? AND number = ? AND state NOT IN ('written', 'verified', 'forgotten') LIMIT 1`
	sqlGood      = `SELECT 1 FROM copies WHERE set_no = ? AND number = ? AND state IN ('written', 'verified') LIMIT 1`
)

// Demands: which volumes a set shall lie on.
const (
	sqlUpdateDemand  = `UPDATE demands SET state = ? WHERE set_no = ? AND volume = ?`
	sqlInsertDemand  = `INSERT INTO demands (state, set_no, volume) VALUES (?, ?, ?)`
	sqlDemandKnown   = `SELECT 1 FROM demands WHERE set_no = ? AND volume = ?`
	sqlDemands       = `SELECT volume, state FROM demands WHERE set_no = ? ORDER BY volume`
	sqlDeleteDemands = `DELETE FROM demands WHERE set_no = ?`
	sqlUnmet         = `SELECT volume FROM demands WHERE set_no = ? AND state NOT IN ('written', 'forgotten') LIMIT 1`
	sqlAnyUnmet      = `SELECT 1 FROM demands d, sets s WHERE d.set_no = s.no AND s.phase = 0 AND d.state NOT IN ('written', 'forgotten')
		AND EXISTS (SELECT 1 FROM copies c, archives a WHERE c.set_no = s.no AND c.volume = d.volume AND c.state NOT IN ('written', 'verified', 'forgotten')
			AND a.set_no = c.set_no AND a.number = c.number AND a.committed = 1) LIMIT 1`
)

// Stages.
const (
	sqlStages      = `SELECT location FROM stages ORDER BY location`
	sqlStageAt     = `SELECT id FROM stages WHERE location = ?`
	sqlUpdateStage = `UPDATE stages SET id = ? WHERE location = ?`
	sqlInsertStage = `INSERT INTO stages (id, location) VALUES (?, ?)`
)

// Leases.
const (
	leaseColumns = `epoch, owner, purpose, host, machine, boot, space, pid, started, renewals, ttl, deadline, granted, renewed, expires`
	sqlLease     = `SELECT resource, ` + leaseColumns + ` FROM leases WHERE resource = ?`
	sqlLeases    = `SELECT resource, ` + leaseColumns + ` FROM leases WHERE owner <> '' ORDER BY resource`
	sqlNewLease  = `INSERT INTO leases (resource, ` + leaseColumns + `)
		SELECT ?, 0, '', '', '', '', '', '', 0, '', 0, 0, 0, 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM leases WHERE resource = ?)`
	sqlTakeLease = `UPDATE leases SET epoch = epoch + 1, owner = ?, purpose = ?, host = ?, machine = ?, boot = ?, space = ?, pid = ?, started = ?,
		renewals = 0, ttl = ?, deadline = ?, granted = ?, renewed = ?, expires = ? WHERE resource = ? AND epoch = ?`
	sqlRenewLease   = `UPDATE leases SET renewals = renewals + 1, deadline = ?, renewed = ?, expires = ? WHERE resource = ? AND epoch = ? AND owner = ?`
	sqlReleaseLease = `UPDATE leases SET owner = '', renewed = ?, expires = ? WHERE resource = ? AND epoch = ? AND owner = ?`
)
