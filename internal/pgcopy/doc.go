// Package pgcopy reads the data of tables from a server: it takes a connection over
// and carries out COPY … TO STDOUT with one copy of each byte, from a large buffer.
// A driver makes an object of every row; at the rate at which a server sends, that
// costs more than compressing does.
//
// Use: set a session up with pgconn, hand it to Take, then Copy as often as wanted,
// and Close. Where statements are many and their data is little, Send some of them
// before the first is Received, and several COPYs at once (Next): the server then need
// not wait. One goroutine uses a
// session.
//
// Errors: what the server refuses is its *pgconn.PgError, and the session goes on
// (its transaction has failed). Every other error ends the session: it can only be
// closed. A COPY is whole only when Copy returns without an error: the rows that came
// are then as many as the server says that it sent.
//
// Blocking: Copy and Receive wait for the server and for the writer, and end at once when their
// context does. Close asks the server to give up what it is doing, and takes no
// longer than its context.
package pgcopy
