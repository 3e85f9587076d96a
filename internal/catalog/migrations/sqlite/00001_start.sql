-- +goose Up

-- Times are nanoseconds since 1970 (0: never). Lists of strings are JSON.
-- What need not be UTF-8 (names, locations) is a BLOB.

CREATE TABLE jobs (
	id      TEXT    NOT NULL PRIMARY KEY,
	name    TEXT    NOT NULL,
	sources TEXT    NOT NULL,
	volumes TEXT    NOT NULL,
	changed INTEGER NOT NULL
) STRICT;

CREATE TABLE volumes (
	id       TEXT    NOT NULL PRIMARY KEY,
	kind     TEXT    NOT NULL,
	location BLOB    NOT NULL,
	created  INTEGER NOT NULL,
	seen     INTEGER NOT NULL
) STRICT;

-- Where volumes were ever seen: a place that a volume left (an empty mount point)
-- stays its own until another volume is seen there.
CREATE TABLE places (
	location BLOB NOT NULL PRIMARY KEY,
	volume   TEXT NOT NULL REFERENCES volumes (id)
) STRICT, WITHOUT ROWID;

-- The last number given: to a set of the month ("2026-11"), and to a row of sets
-- ("sets"). It outlives the set, so that none is ever given twice.
CREATE TABLE counters (
	name TEXT    NOT NULL PRIMARY KEY,
	last INTEGER NOT NULL
) STRICT;

-- claim: what a volume is told to reserve the set's name, known to this catalog
-- alone; empty for a set that was read from a volume. base: the id of the set that an incremental one builds on, which may be unknown
-- here; empty for a full one. recipients: to whom its files are encrypted; an empty list
-- for one that is not. phase: 0 there for all to see, 1 being imported, 2 being deleted,
-- 3 forgotten, and nothing is left but this row, and demands of volumes that still hold something.
-- forgotten: when retention or a person let the set go.
CREATE TABLE sets (
	no        INTEGER NOT NULL PRIMARY KEY,
	id        TEXT    NOT NULL UNIQUE,
	month     TEXT    NOT NULL,
	number    INTEGER NOT NULL,
	job       TEXT    NOT NULL REFERENCES jobs (id),
	base      TEXT    NOT NULL,
	claim     TEXT    NOT NULL,
	status    TEXT    NOT NULL,
	phase     INTEGER NOT NULL,
	host      TEXT    NOT NULL,
	codec     TEXT    NOT NULL,
	recipients TEXT   NOT NULL,
	sources   TEXT    NOT NULL,
	started   INTEGER NOT NULL,
	finished  INTEGER NOT NULL,
	forgotten INTEGER NOT NULL,
	entries   INTEGER NOT NULL,
	stored    INTEGER NOT NULL,
	changed   INTEGER NOT NULL,
	unchanged INTEGER NOT NULL,
	excluded  INTEGER NOT NULL,
	vanished  INTEGER NOT NULL,
	failed    INTEGER NOT NULL,
	deleted   INTEGER NOT NULL,
	bytes_in  INTEGER NOT NULL,
	bytes_out INTEGER NOT NULL
) STRICT;

CREATE INDEX sets_by_job ON sets (job, month, number);

-- A run outlives its set, so it names the set without referring to it. host to
-- process: where its process is, see leases. cancel: when somebody asked it to stop.
CREATE TABLE runs (
	id        INTEGER NOT NULL PRIMARY KEY,
	set_id    TEXT    NOT NULL,
	job       TEXT    NOT NULL,
	kind      TEXT    NOT NULL,
	pid       INTEGER NOT NULL,
	host      TEXT    NOT NULL,
	machine   TEXT    NOT NULL,
	boot      TEXT    NOT NULL,
	space     TEXT    NOT NULL,
	process   TEXT    NOT NULL,
	status    TEXT    NOT NULL,
	started   INTEGER NOT NULL,
	finished  INTEGER NOT NULL,
	beat      INTEGER NOT NULL,
	cancel    INTEGER NOT NULL,
	cancel_by TEXT    NOT NULL,
	progress  BLOB,
	counts    TEXT    NOT NULL,
	summary   BLOB
) STRICT;

CREATE INDEX runs_by_job ON runs (job, id);
CREATE INDEX runs_by_set ON runs (set_id, id);

-- held: how many rows of entries name the archive. committed: its bytes are
-- durable on a volume; before that nobody sees its entries.
CREATE TABLE archives (
	set_no    INTEGER NOT NULL REFERENCES sets (no),
	number    INTEGER NOT NULL,
	name      TEXT    NOT NULL,
	codec     TEXT    NOT NULL,
	committed INTEGER NOT NULL,
	entries   INTEGER NOT NULL,
	held      INTEGER NOT NULL,
	tar_size  INTEGER NOT NULL,
	size      INTEGER NOT NULL,
	hash      BLOB    NOT NULL,
	PRIMARY KEY (set_no, number)
) STRICT, WITHOUT ROWID;

-- attempts: how often writing the copy failed since somebody last asked for it.
-- retry: a failed one is tried again from then on; 0: it waits for a person.
CREATE TABLE copies (
	set_no   INTEGER NOT NULL,
	number   INTEGER NOT NULL,
	volume   TEXT    NOT NULL REFERENCES volumes (id),
	state    TEXT    NOT NULL,
	changed  INTEGER NOT NULL,
	verified INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	retry    INTEGER NOT NULL,
	problem  TEXT    NOT NULL,
	PRIMARY KEY (set_no, number, volume),
	FOREIGN KEY (set_no, number) REFERENCES archives (set_no, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX copies_by_state ON copies (volume, state);

-- The volumes that a set shall lie on whole, and which of them tell its content:
-- manifest, sums and signature are there after all its archives. Of a forgotten set:
-- the volumes that still hold something of it.
CREATE TABLE demands (
	set_no INTEGER NOT NULL REFERENCES sets (no),
	volume TEXT    NOT NULL REFERENCES volumes (id),
	state  TEXT    NOT NULL,
	PRIMARY KEY (set_no, volume)
) STRICT, WITHOUT ROWID;

-- Sets that are kept until somebody says otherwise.
CREATE TABLE pins (
	set_no  INTEGER NOT NULL PRIMARY KEY REFERENCES sets (no),
	who     TEXT    NOT NULL,
	why     TEXT    NOT NULL,
	at_time INTEGER NOT NULL
) STRICT;

-- Where stages lie that this catalog's archives may wait in.
CREATE TABLE stages (
	location BLOB NOT NULL PRIMARY KEY,
	id       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Who owns an entry and on which device it lies: few combinations, many entries.
CREATE TABLE origins (
	no         INTEGER NOT NULL PRIMARY KEY,
	uid        INTEGER NOT NULL,
	gid        INTEGER NOT NULL,
	user_name  BLOB    NOT NULL,
	group_name BLOB    NOT NULL,
	dev        INTEGER NOT NULL,
	UNIQUE (uid, gid, user_name, group_name, dev)
) STRICT;

-- Directories that entries lie in, numbered in the order of the walk; a parent
-- has a lower id than its children. 0 is the set's own root.
CREATE TABLE dirs (
	set_no INTEGER NOT NULL,
	id     INTEGER NOT NULL,
	parent INTEGER NOT NULL,
	name   BLOB    NOT NULL,
	PRIMARY KEY (set_no, id)
) STRICT, WITHOUT ROWID;

-- dir: the directory that the entry lies in. child: its own id in dirs, of a
-- directory. archive: 0 when no archive of the set holds it. outcome 0: a
-- directory known only because something lies in it. attrs: see attrs.go.
CREATE TABLE entries (
	set_no  INTEGER NOT NULL,
	dir     INTEGER NOT NULL,
	name    BLOB    NOT NULL,
	kind    INTEGER NOT NULL,
	outcome INTEGER NOT NULL,
	archive INTEGER NOT NULL,
	size    INTEGER NOT NULL,
	child   INTEGER,
	attrs   BLOB    NOT NULL,
	PRIMARY KEY (set_no, dir, name)
) STRICT, WITHOUT ROWID;

-- The entries with an outcome that people ask for: all but stored and unchanged.
CREATE TABLE notable (
	set_no  INTEGER NOT NULL,
	outcome INTEGER NOT NULL,
	dir     INTEGER NOT NULL,
	name    BLOB    NOT NULL,
	PRIMARY KEY (set_no, outcome, dir, name)
) STRICT, WITHOUT ROWID;

-- The archives that hold parts of a split entry, besides the last one, which
-- its row in entries names.
CREATE TABLE pieces (
	set_no  INTEGER NOT NULL,
	dir     INTEGER NOT NULL,
	name    BLOB    NOT NULL,
	archive INTEGER NOT NULL,
	PRIMARY KEY (set_no, dir, name, archive)
) STRICT, WITHOUT ROWID;

CREATE INDEX pieces_by_archive ON pieces (set_no, archive);

-- The SHA-256 of SHA256SUMS of each set on each volume; a later set's signature
-- covers it, so it outlives the set.
CREATE TABLE sums (
	no      INTEGER NOT NULL PRIMARY KEY,
	volume  TEXT    NOT NULL,
	set_id  TEXT    NOT NULL,
	hash    BLOB    NOT NULL,
	at_time INTEGER NOT NULL
) STRICT;

CREATE INDEX sums_by_volume ON sums (volume, no);

-- A set whose files are being given other recipients: to whom.
CREATE TABLE rotations (
	set_no     INTEGER NOT NULL PRIMARY KEY REFERENCES sets (no),
	recipients TEXT    NOT NULL
) STRICT;

-- What becomes of the files of such a set on a volume, before it does. header: with
-- what the new file begins, or another note of the rotation. hash: of the new file;
-- empty until it is written, and it bears its name after that only.
CREATE TABLE rewraps (
	set_no INTEGER NOT NULL REFERENCES sets (no),
	volume TEXT    NOT NULL,
	name   TEXT    NOT NULL,
	header BLOB    NOT NULL,
	size   INTEGER NOT NULL,
	hash   BLOB    NOT NULL,
	PRIMARY KEY (set_no, volume, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
	no      INTEGER NOT NULL PRIMARY KEY,
	at_time INTEGER NOT NULL,
	action  TEXT    NOT NULL,
	object  TEXT    NOT NULL,
	detail  TEXT    NOT NULL
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
	SELECT raise(ABORT, 'the audit log is append-only');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN
	SELECT raise(ABORT, 'the audit log is append-only');
END;
-- +goose StatementEnd

-- Who owns something exclusive: "volume:UUID", "set:ID", "stage:ID". epoch: grows by
-- one with each owner; no row is ever deleted, so none is given twice. owner: one open
-- catalog, random; empty: nobody. host to started: where the owner's process is.
-- ttl: nanoseconds; deadline: the same, by the clock of the owner's boot. granted,
-- renewed and expires tell people the same by the wall clock.
CREATE TABLE leases (
	resource TEXT    NOT NULL PRIMARY KEY,
	epoch    INTEGER NOT NULL,
	owner    TEXT    NOT NULL,
	purpose  TEXT    NOT NULL,
	host     TEXT    NOT NULL,
	machine  TEXT    NOT NULL,
	boot     TEXT    NOT NULL,
	space    TEXT    NOT NULL,
	pid      INTEGER NOT NULL,
	started  TEXT    NOT NULL,
	renewals INTEGER NOT NULL,
	ttl      INTEGER NOT NULL,
	deadline INTEGER NOT NULL,
	granted  INTEGER NOT NULL,
	renewed  INTEGER NOT NULL,
	expires  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
