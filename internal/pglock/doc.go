// Package pglock looks at the heavyweight locks of a PostgreSQL server: who waits
// for whom, and how many a dump would need.
//
// Use: Look gives every session of the server that waits for a lock, with those it
// waits behind; Report.Advice says of them what people want to know: which
// statement holds up others while it waits itself, and who holds it up. Need counts
// the tables that a dump locks against the room of the server's lock table.
//
// # Who waits for whom
//
// pg_blocking_pids names both the sessions that hold what another one asks for and
// those that stand before it in the queue. The second kind is what makes a waiting
// ALTER TABLE dangerous: every SELECT that comes after it waits behind it, although
// nobody holds more than a lock for reading. A blocker that waits itself for the
// same object is such a one (Blocker.Queued).
//
// # Blocking
//
// Looking takes no lock on anybody's table: names are read from the system catalogs
// by the snapshot. Server-side timeouts bound each question.
package pglock
