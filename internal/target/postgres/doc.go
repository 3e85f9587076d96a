// Package postgres restores a dump in pg_dump's directory format into a PostgreSQL
// server, through the pg_restore that fits both.
//
// Use: Restore. It can make the database, under whichever name; restore all or chosen
// tables and schemas, with what belongs to them; and says what pg_restore could not do,
// object by object.
//
// Globals restores what belongs to no database, roles and tablespaces, statement by
// statement, so that each problem has its object.
//
// # Which pg_restore
//
// That of the server's own major, else the next newer one: a newer one sets parameters
// that older servers do not know. It must be able to read the dump: files of version
// 1.15 want 16, 1.16 wants 17, zstd wants 16. Where that makes it newer than the server,
// its one error that means nothing (transaction_timeout) is not counted.
//
// # What it does not do
//
// Without Clean it restores no table that is already there: rows would be added to
// those that the table has. What was restored before an error stays.
//
// Blocking: until pg_restore has ended, as a declared wait for the server, or for the
// lock that holds it up (Options.StallWarn, StallFail). It ends with the context; then
// the server ends what was under way. Memory: the table of contents,
// and a bounded number of problems.
package postgres
