// Package pgscratch runs a PostgreSQL server for a while, on a cluster that is made
// for it and removed with it: to restore a dump into, and look.
//
// Use: Start makes and starts it; URL is how to reach its databases, as its
// superuser; Done says that it has ended by itself; Stop ends and removes it, and has
// to be called however the work ended.
//
// The server listens on a socket in its own directory, which nobody but its user and
// root can enter, and on no network. It has the configuration that initdb makes, and
// nothing of the user's. It writes nothing durably: what it holds is lost with it.
// PostgreSQL refuses to run as root; root's servers run as another user.
//
// A process that is killed leaves the directory, and its server ends by itself. Sweep,
// which Start begins with, removes such directories: those that hold a marker of a
// process of this machine that is not there any more, and that belong to this user.
//
// Errors: *capstan.Error; what is missing is named with what to install. A disk that
// is too small is capstan.ErrNoSpace, before anything is made.
//
// Blocking: Start takes the seconds of initdb and of the start, Stop those of an
// immediate stop and of removing the files; both are declared waits.
package pgscratch
