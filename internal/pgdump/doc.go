// Package pgdump reads a dump of a PostgreSQL database in pg_dump's directory format:
// which tables there are, and the rows of each, without a server.
//
// Use: Open one over a directory (os.DirFS) or whatever else gives files by name; Table
// finds a table, Rows opens its rows as the text of COPY. Large gives the large objects,
// Content one's content.
//
// The directory is toc.dat and one file for each table, N.dat, N.dat.gz or N.dat.zst;
// which of them is there says how it is compressed, as for pg_restore. N.dat.lz4 is
// refused by name.
//
// Nothing is trusted: names of files come from toc.dat and stay within the directory.
// Damage is an error that wraps capstan.ErrDamaged and names the file.
package pgdump
