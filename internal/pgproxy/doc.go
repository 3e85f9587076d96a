// Package pgproxy stands between the real pg_dump and a server, and learns from it
// what a dump consists of: the settings that it makes, the tables that it locks, and
// the COPY statement behind each data file. It knows the catalogs of every version
// of the server; nobody has to know them a second time.
//
// Use: Listen makes a socket that libpq finds in a directory; start pg_dump with it
// as its host, and Serve its one session over a connection of one's own. All goes
// through as it is, except
//
//   - COPY … TO stdout: answered with one row, the marker that ReadMarker knows, so
//     that each file of the dump says which statement belongs into it;
//   - LOCK TABLE: noted and answered, since whoever lends the connection locks as it
//     sees fit. After the last one, Session.Admit says whether the dump goes on;
//   - the beginning of a transaction and its lock_timeout, which are the lender's;
//   - the reading of large objects: answered with empty contents.
//
// The connection may be in a transaction, and is in the same one afterwards (a failed
// one after an error of the server). Whatever way it is encrypted and authenticated,
// pg_dump need not know: it connects to the socket alone.
//
// Errors: what the server refused is its *pgconn.PgError, what Admit or Copying refused is
// its error; pg_dump has then been told, and fails.
//
// Blocking: Serve ends with pg_dump's session or with its context, at once. Memory
// does not grow with results, only with the transcript.
package pgproxy
