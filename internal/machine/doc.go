// Package machine tells this machine, its present boot and its processes apart
// from others, and reads a clock that neither a suspended machine, a stopped
// process nor a changed wall clock holds up.
//
// # Use
//
// Here says where the calling process stands; what it gives can be stored. Later,
// also in another process, Place.Relation compares a stored Place with the present
// one, and Alive looks whether the process in it is still there. Boot is the clock;
// its values compare between processes of one boot.
//
// # Blocking
//
// Every call reads a few small files of the system, or asks the kernel; none waits
// for anything else.
package machine
