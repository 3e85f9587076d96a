-- +goose Up

-- The last drill of each dump of a database in a set; dump is its directory within the
-- set. outcome: proven or differs. proven: when it was last proven, also before the last
-- drill; 0: never.
CREATE TABLE drills (
	set_no    INTEGER NOT NULL REFERENCES sets (no),
	dump      BLOB    NOT NULL,
	outcome   TEXT    NOT NULL,
	at_time   INTEGER NOT NULL,
	proven    INTEGER NOT NULL,
	tables    INTEGER NOT NULL,
	row_count INTEGER NOT NULL,
	PRIMARY KEY (set_no, dump)
) STRICT, WITHOUT ROWID;
