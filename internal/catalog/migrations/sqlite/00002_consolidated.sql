-- +goose Up

-- The set whose tree a consolidated set holds, by itself; empty for one that was made
-- from sources. Among the sets of a job it stands where that set stands.
ALTER TABLE sets ADD COLUMN consolidates TEXT NOT NULL DEFAULT '';
