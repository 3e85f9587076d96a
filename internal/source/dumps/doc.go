// Package dumps makes PostgreSQL databases sources of a set: package source/postgres
// dumps them, and each file of the dump is packed as soon as it is complete.
//
// Use: New gives a capstan.Snapshotter. What it emits below its name is what pg_dump
// writes: NAME/toc.dat, NAME/1234.dat.zst, and capstan-receipt.json; for a whole server
// NAME/DATABASE/toc.dat and so on, and NAME/globals.sql.
//
// The data waits in a stage.Spool, which bounds it: a file is there from its first byte
// until the packer has read it. When the spool is full, the dump waits for the packer;
// when it is full of files that are not complete, nothing can become free any more, and
// the dump ends with capstan.ErrNoSpace. So the spool needs room for the tables that are
// being read at one time, and not for the database.
//
// Order: directory, data as it comes, then lists of large objects, the receipt and at
// last the table of contents. So whoever finds a toc.dat has all that it names.
//
// Errors: those of source/postgres; any of them ends the scan, and with it the run.
//
// Blocking: on the server and on whoever takes what is emitted; all of it ends with the
// context. Memory: see source/postgres, at most a quarter of the run's budget, but always
// enough for one session.
package dumps
