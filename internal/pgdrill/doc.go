// Package pgdrill proves that a dump can be restored: it restores the dump into a
// server that is made for it, or into a new database of a given one, and compares each
// table with what the dump's receipt says that the source had.
//
// Use: Run. docs/postgres-drill.md says what it proves, and what not.
//
// Order: toc.dat and every data file are read and compared with the receipt, without a
// server (files); then the dump is restored by target/postgres (restore); then every
// table is read by the statement that the dump read it by, in one snapshot, and counted
// and hashed again (compare), with sequences and large objects. What differs ends it
// after the files, since pg_restore would only stumble over them.
//
// Errors: what differs is an error of class capstan.ErrIncomplete, and named in the
// Summary. Everything else means that nothing was proven: a program, an extension or
// room that is missing, a server that ended.
//
// Blocking: for as long as a restore takes. It ends with the context; the scratch
// server, or the database, is removed in every case, within a minute or two as a rule.
// Memory: the table of contents, and some MiB for each session.
package pgdrill
