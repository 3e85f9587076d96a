// Package dir is a volume on a directory: a local disk, a network filesystem, a
// mounted LTFS tape.
//
// # Layout
//
//	capstan-volume.json                   the marker: UUID, and the catalogs that use the volume
//	2026-11_000001/                       one directory for each set
//	2026-11_000001/.capstan-owner.json    the catalog that the set belongs to
//	2026-11_000001/NAME                   finished files
//	2026-11_000001/NAME.part              files being written, or left by a kill
//	.capstan-claim-…                      a set's directory on its way in or out
//
// Whatever else lies there is someone else's and is never touched. Files are
// made with mode 0600 and directories with 0700: backups hold the secrets of
// everyone. Who wants to share a volume changes the mode of its top directory.
//
// # Use
//
// Open, then the methods of capstan.Volume. ClaimSet comes before the first
// Create of a set; a set that another catalog claimed can be read, but neither
// written nor removed.
//
// # Durability
//
// Commit returns nil after fsync, a checked close, a rename that replaces
// nothing, and an fsync of the directory. Before the rename it makes sure that
// the path still leads to the volume and to the very file that was written: a
// volume that was unmounted meanwhile fails the commit.
//
// # Blocking
//
// Contexts are looked at between operations; a single operation blocks as long
// as the operating system does (see package disk).
package dir
