// Package dumpall dumps all databases of a PostgreSQL server into one directory, with the
// server's roles and tablespaces, and restores such a directory.
//
// Use: Dump writes DIR/DATABASE for each database that takes connections and is no
// template, each with a snapshot of its own, as package source/postgres dumps one;
// DIR/globals.sql; and DIR/capstan-databases.json, the Receipt. Find names the dumps in a
// directory, Restore restores several, wherever they come from.
//
// Order: roles first, then database after database, by name. One that fails is named in
// the Receipt and in the error, and the others go on; DIR appears when all were tried. It
// says partial then, and never complete.
//
// Errors: of class capstan.ErrIncomplete where some databases were dumped, or restored,
// and others that it names were not; every other one means that nothing was done.
//
// Blocking and memory: those of the packages below, one database at a time.
package dumpall
