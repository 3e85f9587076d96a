// Package pgslot works on the replication slots of a PostgreSQL data directory:
// what transactions spilled there, where a spill file comes from, how a slot gets
// rid of its spill files in one step, and what is wrong with a slot's directory.
//
// Use: a Place says which data directory it is. Report, Map and Examine only read,
// also while a server runs. Quarantine, Repair, Settle and Purge change something;
// they ask Place.Idle, the proof that no server lives there, right before each
// change in pg_replslot.
//
// A quarantine moves a slot's directory, with all its spill files, out of
// pg_replslot, and puts one in its place that holds the slot's state alone. Both
// happen in one step (disk.FS.Exchange): at no moment is the slot missing, and a
// server that is started by somebody else in that moment finds a whole slot. What
// a quarantine does is written down before it is done (Record), so that a later
// call can tell how far one came that was killed, and Settle ends it.
//
// Ten million spill files in one directory are a case that happens: names are
// streamed, what is kept of them is bounded, and everything looks at its context.
//
// Blocking: all calls block for as long as the filesystem does. Errors that refuse
// for safety are capstan.ErrRefused and say that nothing was touched.
package pgslot
