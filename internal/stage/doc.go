// Package stage is the bounded disk area between readers that are fast and
// volumes that are slow or must not starve. An archive is written in temp,
// sealed by a rename into final, copied from there to its volumes by whoever
// owns them, and removed when the catalog says that every demanded copy exists.
// The stage decides nothing of this: it removes only what it is told to.
//
// # Layout
//
//	capstan-stage.json       the marker: an id, and the catalog that the stage belongs to
//	temp/SET/NAME            files being written, or left by a kill
//	final/SET/NAME           sealed files
//	spool/OWNER.N/           files on their way into an archive, see Spool
//	orphans/SET/NAME         what Reconcile has set aside; not counted any more
//	ledger/lock              whoever looks at the ledger holds it, for milliseconds
//	ledger/OWNER.lock        held for as long as its owner lives: an opened Stage
//	ledger/OWNER.json        what that owner holds and waits for
//
// An owner is one opened Stage; a process has usually one. Everything is for its
// user alone (0600, 0700).
//
// # Use
//
//	s, err := stage.Open(ctx, dir, …)           once a process; Close at the end
//	report, err := s.Reconcile(ctx, judge)      before anything runs
//	err = s.ClaimSet(ctx, set)                  once a set, before its first archive
//	room, err := s.Reserve(ctx, archiveSize)    before an archive; waits while the stage is full
//	file, err := s.Create(ctx, set, name, room) the file owns the reservation now
//	…Write…; err = file.Commit(ctx)             sealed; what was reserved too much is free again
//	r, err := s.Open(ctx, set, name)            one reader for each volume, while the next is packed
//	err = s.Remove(ctx, set, name)              once the catalog has every demanded copy
//	err = s.LeaveSet(ctx, set)                  once the catalog knows the set's archives
//
// A claimed set belongs to its owner until LeaveSet, Close, or the death of the
// process: nobody else creates in it, and nobody's Reconcile touches its files.
// So an archive that is sealed, but not yet in the catalog, is safe. Reading and
// removing sealed files needs no claim.
//
// # The quota
//
// It counts every byte of temp and final, what spools have taken, and every byte that
// is reserved and not yet written, of all processes. There is no total that could drift: whoever
// wants room takes the lock of the ledger, adds up the directories and the
// records of the owners that live, and enters its own reservation. An owner
// whose lock is free is dead: its reservations end there, and its unsealed
// files are removed. A record is written over in place, so that room can be
// given back on a disk that is full.
//
// A reservation also needs the room on the filesystem, beyond Options.Reserve
// and beyond what others have reserved and not yet written.
//
// # Ordering
//
// Requests are granted in the order in which they came, over all processes;
// one that does not fit holds up those behind it, so a large archive is not
// starved by small ones. Files that grow beyond their reservation come before
// new reservations, since only they can end and free something.
//
// # Blocking
//
// Reserve waits, and so does a Write that outgrows its reservation or meets a
// full disk; both end with the cause of their context, of a file the one given
// to Create. The wait is declared as "space", with who holds it. It ends at
// once when this process frees room, and within a fraction of a second when
// another does, when another dies, or when something else makes room on the
// filesystem. A wait that nothing in the stage can end any more (the request is
// larger than the stage or its filesystem; all that is in the stage is being
// written and waits for more) is capstan.ErrNoSpace instead: of several writers
// that hold each other up, the youngest fails. A filesystem that others have
// filled is waited for.
//
// Every other method may wait for the ledger's lock, declared as "lock", and
// blocks for as long as the operating system does (see package disk).
//
// # Durability
//
// Commit returns nil after fsync, a checked close, a rename that replaces
// nothing, and an fsync of the directories. A kill at any point leaves the file
// in temp (it is discarded) or whole in final (the catalog does not know it;
// Reconcile asks). Remove is repeatable.
//
// # A stage that is not there
//
// Every method first makes sure that the marker is still at its path, and fails
// with ErrGone otherwise; nothing is made anew there. Only Open makes a stage,
// and not when it is told in Options.Known which one it shall find.
package stage
