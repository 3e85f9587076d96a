// Package rowsum makes one sum of the rows of a table that does not depend on their
// order: the xxh3 hashes of all rows, of 128 bits each, added modulo 2^128. A row that
// is there twice counts twice, as it would not with XOR.
//
// Use: Row adds a row that is in memory, Long one that comes in pieces, Add another
// sum; Text makes the sum of a data file of a dump.
//
// What it tells: that two sets of rows are the same, byte for byte as COPY writes
// them, against everything that happens by accident. It is no proof against somebody
// who wants two different tables to have one sum: xxh3 is no cryptographic hash, and
// a sum of hashes would be a weak one even then.
//
// Sum is a value and compared with ==. Nothing here blocks, but for the reader of Text.
package rowsum
