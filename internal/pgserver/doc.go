// Package pgserver stops and starts PostgreSQL servers, and says before and
// meanwhile what holds them up.
//
// Use: Env holds what every act needs. Check looks at a running server and says
// what will block its stop. Stop prepares and stops it. Status says in which phase
// a server is. Undo puts back what was changed for a stop. Start starts a server,
// shows its phases, and unsticks one that spill files hold up; Spill, Purge and
// Doctor are about its replication slots, for which package pgslot does the work.
//
// # How a phase is known
//
// Look gathers what can be seen from outside: postmaster.pid, pg_control, the
// postmaster's children and their roles. Look.Judge is the decision table: it gives
// the phase, who blocks, and what may be done. It looks at nothing else, so that
// every row of the table can be tested without a server. No line of a log is
// believed, and no state that somebody remembers.
//
// # What a stop may do
//
// Its signals are SIGINT to the postmaster, SIGTERM to a child, SIGHUP to the
// archiver, each after looking once more. SIGKILL is not in the vocabulary of
// package pg; SIGQUIT (an immediate stop) is sent by Start alone, see below. A stop has succeeded when the process is
// gone, pg_control says "shut down" or "shut down in recovery", and no archive
// command works on.
//
// # What a start may do
//
// It changes pg_replslot only while nothing works in the data directory, and stops
// only a start immediately: one whose postmaster.pid says "starting", that has let
// nobody in, and whose startup process was just seen with spill files open. The
// server it starts depends on nothing of this program: no pipe, no session. Start
// ends what an earlier one left that was killed, and puts back what a stop changed.
//
// # What is changed and put back
//
// A role that may not log in, an archive_command that is empty and a subscription
// that is disabled are written into a journal in the home before they are changed,
// and struck out only after they were put back. The journal belongs to one data
// directory on this machine: two clusters that were copied from one another have
// the same system identifier. Killed at any moment, the next Stop finishes, and
// Undo or the next start puts back.
//
// # Blocking
//
// Stop blocks until the server has stopped, its timeout has passed or its context
// ends; whatever it waits for is declared in Env.Tracker. A server goes on stopping
// when the one who waits for it leaves.
package pgserver
