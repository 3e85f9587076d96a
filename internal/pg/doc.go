// Package pg knows PostgreSQL servers from outside: their data directory, their
// processes, their programs, and how to connect to them.
//
// Use: Open a data directory; Server says whether a server runs on it, from
// postmaster.pid and what the named process really is; Children gives the server's
// processes with their roles; Signal sends one of them a signal after looking once
// more that it still is what it was; Connect connects, as PGDATA's owner where no
// URL is given.
//
// A process is believed to be a cluster's server only when it works in the data
// directory, runs a program called postgres and started when postmaster.pid says.
// A role is read from a process's title, after exactly the configured cluster_name
// has been taken off it, and is RoleUnknown when anything about it is unexpected.
// SIGKILL cannot be sent from here at all.
//
// Errors: what must not be done is capstan.ErrRefused, nothing touched. ErrGone
// says that a process has ended or become another one since it was looked at.
//
// Blocking: reading /proc takes milliseconds. Program runs and connections end
// with their context and have limits of their own, seconds. A data directory on a
// file system that hangs holds every call.
//
// Processes are looked at on Linux only; elsewhere these calls say so.
package pg
