// Package slowfs is a filesystem that is slow, fails or hangs when a test says
// so: FUSE laid over a directory, served by a process of its own.
//
// Use: TestMain begins with
//
//	if slowfs.Served() {
//		return
//	}
//
// so that the test binary can be the server as well. Then Start mounts, and Add
// puts a Rule in force: a delay, a rate, an error, a hold or a short write, for
// kinds of operations and from their n-th on. Without rules the mount does what the directory
// below does; nothing is cached, so that every operation arrives. Stop stops the
// whole server, as SIGSTOP does. Record mounts with a log of all that is changed,
// from which package powerloss makes what a loss of power may leave.
//
// Who waits for an operation that is held, or closes a file of a server that is
// stopped, sleeps uninterruptibly: not even SIGKILL ends it before End, Continue,
// Kill or a forced unmount. A test that kills such a process must see to that before
// it waits for the process.
//
// The test must have no file of the mount open when it starts a process: the child
// would close it, and closing asks the server.
//
// Needs Linux and root. The mount is gone when the test is over, however it ends.
package slowfs
