// Package pgtest starts real PostgreSQL servers for tests: clusters of every
// major version that scripts/install-postgres.sh has installed, in directories
// that go with the test. It is imported from test files only.
//
// Use: New makes a cluster (a copy of a template, so that it takes a tenth of a
// second), Start starts its server, URL and Conn reach it. A server that is still
// there when the test ends is killed, whoever started it, with every process that
// works in its data directory.
//
// Servers run as the user postgres when the test is root, else as the test's
// user. They listen on a socket in a directory of their own, and on a free port
// of the loopback interface if Options.TCP asks for it. They do not sync
// (fsync=off) unless the test turns it on. All of them that were made from one
// template have the same system identifier.
//
// It is for Linux; tests that use it are in files for Linux.
//
// Blocking: every wait has a deadline, after which the test fails with the end of
// the server's log.
package pgtest
