// Package pgtoc reads and writes toc.dat, the table of contents of a dump that
// pg_dump wrote in its directory format: which objects there are, in what order and
// with which dependencies, and which file holds the data of which.
//
// Use: Parse takes the whole file, Append writes one. What Parse accepts, Append
// writes byte for byte as it was, so that a dump can be changed in one field (its
// compression) without a trace elsewhere. Of a dump of very many objects, Scan gives
// one entry after the other, and Recompress copies the file with that one field set.
//
// Versions: 1.14 (pg_dump 12 to 15), 1.15 (16) and 1.16 (17 and 18); another one is
// an error that names it, since a field more or less would shift all that follows.
// The format is that of pg_backup_archiver.c and pg_backup_directory.c of PostgreSQL;
// it is documented nowhere else. docs/postgres-dump.md describes it.
//
// Nothing here blocks or keeps state. A file is never trusted: whatever does not fit
// is an error that wraps capstan.ErrDamaged and names the offset. Memory is that of
// the file and of its entries, with Scan that of one entry.
package pgtoc
