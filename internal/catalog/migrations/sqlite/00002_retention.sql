-- +goose Up

-- The set whose tree a consolidated set holds, by itself; empty for one that was made
-- from sources. Among the sets of a job it stands where that set stands.
ALTER TABLE sets ADD COLUMN consolidates TEXT NOT NULL DEFAULT '';

-- Volumes that retention let go of a set which stays on others. The row goes, with the
-- set's demand and copies there, when the volume holds nothing of it any more.
CREATE TABLE released (
	set_no INTEGER NOT NULL REFERENCES sets (no),
	volume TEXT    NOT NULL REFERENCES volumes (id),
	PRIMARY KEY (set_no, volume)
) STRICT, WITHOUT ROWID;
