// Package postgres reads PostgreSQL databases: it makes a consistent dump that
// neither breaks at statements that change tables nor is falsified by them, in the
// directory format of pg_dump, for the stock pg_restore.
//
// Use: Dump. docs/postgres-dump.md tells how it works and why.
//
// Order: the guard session locks every table (hold), then takes the snapshot; workers
// enter it and lock their tables in layers of savepoints, a large table in one of its
// own; the real pg_dump is lent the guard's session through pgproxy and says what is to
// be read, up to its first data where its table of contents tells the rest; the workers
// read, small tables before that is known, and release each layer when it is read.
//
// Errors: a *capstan.Error that names the table or the program. A dump that fails
// leaves nothing at its place and no session on the server.
//
// Blocking: a lock is waited for by LockTimeout, then everything is let go and tried
// again until LockWait is over. Reading waits for the server, as a declared wait.
// All of it ends with the context; the sessions are ended within seconds, as a rule
// at once. Memory: a few MiB for each job, whatever the size of tables and rows up to
// the protocol's limit, and the table of contents.
package postgres
