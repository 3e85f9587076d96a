// Package copytext reads the text format of PostgreSQL's COPY, in which a dump keeps
// the rows of its tables, and writes them as text or as CSV.
//
// Use: Copy passes the rows on as they are, CSV turns them into comma-separated
// values. Both read to the end of the stream, and take it for whole only if the line
// `\.` closes the rows and nothing but line ends follows it.
//
// The format is that of "COPY" in PostgreSQL's manual: rows end with a line feed,
// fields are parted by tabs, `\N` alone is NULL, and a backslash begins an escape.
// Since a tab or a line end within a value is always escaped, no row has to be held:
// memory is a buffer of 64 KiB, however long a value is (PostgreSQL: 1 GiB).
//
// Errors: what does not fit wraps capstan.ErrDamaged and names the row, counted from
// 1. A stream that ends early is such an error. Errors of the reader and of the writer
// are passed on.
package copytext
