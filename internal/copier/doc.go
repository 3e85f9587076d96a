// Package copier brings the sealed archives of a set from the stage to every
// volume that shall hold it, and finishes the set there. It is the only writer of
// a volume while it holds it.
//
// # Use
//
//	q := copier.Start(ctx, options, set, volumes)  an owner for each volume
//	q.Wake()                                       after an archive was queued in the catalog
//	outcomes, err := q.Drain()                     no more will come; waits for all volumes
//
// # The queue
//
// It is a query of the catalog: which copies of the set the volume has yet to
// get. Nothing else remembers them, so what a kill leaves is taken up by the next
// Queue of the set. Nothing is polled: whoever queues an archive calls Wake, and
// a retry has its time.
//
// # Failure
//
// A copy that fails is a state in the catalog with its reason; it is tried again
// after a while that grows, other archives go on meanwhile, and after
// Options.Attempts it waits for a person. A volume that cannot be opened fails as
// a whole in the same way. Volumes do not wait for each other. Only a failure of
// the catalog ends the Queue, since nothing that is done could be recorded.
//
// A volume that neither answers nor fails is cut off by Cut, which the watchdog
// calls: its owner is cancelled, and if the operating system does not let it go
// within Options.Grace, it is left behind. It is fenced then: when the call that it
// hangs in returns, it writes no further byte and renames nothing.
//
// # Order of truth
//
// The bytes of a copy are hashed on their way and must be those of the archive,
// the volume commits the file (durable, under its name), the catalog says
// written, and only when no volume waits for the archive any more is its staged
// file removed. A kill between the first two leaves a finished file that the
// catalog does not know: the next attempt finds it, compares its hash, and keeps it.
package copier
