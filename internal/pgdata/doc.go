// Package pgdata reads the files of a PostgreSQL data directory: pg_control,
// postmaster.pid, the state of replication slots, and spill files. It knows
// versions 13 to 18 on little-endian machines.
//
// Use: a caller reads the bytes and hands them to a Parse function. Nothing here
// opens a file or waits. The server writes these files while they are read, and
// they may be damaged: a parser checks what can be checked (checksum, magic,
// version, ranges) before it believes a field, and allocates no more than its
// input is long. ErrDamaged and ErrVersion tell why bytes were not accepted; a
// torn read gives ErrDamaged too, so a caller reads again before it believes that.
//
// Where a field's meaning is from the server's sources, the comment names the
// structure there.
package pgdata
