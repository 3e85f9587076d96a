// Package tree writes restored entries into a directory: confined to it, and
// with everything that was kept of them.
//
// Use: Open the target, then for every entry in the order of
// capstan.ComparePaths call Dir for a directory, Place for what stands by
// itself and Link for a further name of a file; call FinishDir for every directory
// when all below it is there, deepest first, and for one that its owner may not search
// not before the last Link to a file in it; then Sync if the tree must survive a power
// loss, then Close. Notes tells what the target could not keep.
//
// Confinement: a path that is absolute or has an empty, "." or ".." component
// is refused. Directories are opened component by component, relative to the
// one above and never through a symlink, so a link that was there before, was
// restored before, or is swapped in meanwhile leads nowhere. Whoever may move
// a directory of the target elsewhere during the restore takes what is written
// in it along; nobody can point the restore at a directory that it was not in.
//
// Crash: a file appears under its name only when its content and metadata are
// whole, so a killed restore leaves no half-written file and no damaged old one.
// It is written without a name (O_TMPFILE) where the filesystem can do that, and
// then nothing is left of it; elsewhere, and for a moment when it replaces
// another, it has a name that begins with ".capstan-" beside its place, which tells
// its process: the next restore into the same target removes what a process left that
// is gone, in the directories that it writes in. For small files that costs
// about a quarter more than writing them in place, but less than a temporary name
// and a rename for each (measured on ext4, XFS, Btrfs and tmpfs). What a power
// loss leaves is certain only after Sync. A directory is accessible to its owner
// only, until FinishDir.
//
// Order and blocking: methods block for the I/O that they do, and Place also
// for its reader. They may be called from several goroutines for different
// paths; FinishDir must follow all that is placed in that directory. They look
// at ctx at their start and, for content, between chunks.
//
// The complete implementation is for Linux. Elsewhere a reduced one keeps
// names, content, permissions, times, symlinks and hard links.
package tree
