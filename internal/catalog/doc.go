// Package catalog is the SQL record of jobs, runs, sets, archives, copies,
// entries and volumes: the truth about what was stored where. The default keeps
// it in one SQLite file.
//
// # Use
//
// Open the catalog once per process. EnsureVolume and EnsureJob, then LockJob,
// come before BeginSet and BeginRun. Each archive is named by PlanArchive before
// its first byte; its entries go through the set's EntryWriter; CommitArchive
// says, after the medium is durable, that the archive and its entries are there.
// SetStatus and FinishRun end it. A set that a crash left unfinished is found by
// OpenSets and cleaned by DiscardUnsealed, under the lock of its job.
//
// What an archive that is not committed holds is seen by nobody: not by Walk,
// Children, Entry and Find.
//
// # Ordering
//
// Entries of one set may come in any order; the order of capstan.ComparePaths is
// the fast one. An entry that comes again under its path replaces the earlier one.
// Walk yields in the order of capstan.ComparePaths.
//
// # Processes
//
// Several processes may have one catalog open. A write is a short transaction
// that excludes other writers and never a reader. A reader holds no lock and no
// snapshot between two pages, so a consumer that stops taking does no harm. A job
// lock belongs to the process and dies with it.
//
// # Blocking
//
// Methods block while the disk works. A write also waits for the writers of other
// processes, declared through Options.Wait and bounded by Options.Patience. A
// context that ends makes a method return context.Cause; what was not committed
// is then undone. Methods may be called from several goroutines.
//
// # Other databases
//
// The statements in statements*.go keep to what SQLite, PostgreSQL and openGauss
// share (a test holds them to it); what is SQLite's own stands in sqlite*.go and
// migrations/sqlite.
package catalog
