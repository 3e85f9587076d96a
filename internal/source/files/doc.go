// Package files reads a file tree, or a single file of any kind, as a
// capstan.Source.
//
// # Use
//
// New checks that the path exists; Scan emits what lies there, once per run:
//
//	source, err := files.New("/srv/data", files.Options{OneFileSystem: true})
//	...
//	err = source.Scan(ctx, baseline, func(ctx context.Context, batch capstan.Batch) error { ... })
//
// # Order
//
// Entries come in the order of capstan.ComparePaths: a directory, then all that
// lies in it, names in byte order. Directories are listed ahead of time and
// files are read by several goroutines, but every decision that depends on the
// order (which name of a hard-linked file holds its content) is taken by the
// goroutine that calls Scan and emit.
//
// # What is held in memory
//
// Up to 64 KiB of a file's content travels in the item itself, already hashed;
// a larger file travels as a capstan.Content. Data that was read and not yet
// emitted stays below Options.Memory. What emit has accepted is the consumer's:
// it bounds how many batches (of about 1 MiB) it takes before it releases them,
// and may hold any number without blocking the scan for good. At most 128
// contents keep their file open; those beyond open it at the first Read, and
// check that it is still the same file.
//
// The names of the directories on the way down are held, so a directory of a
// million names costs some 50 MB. The baseline is walked along, a few pages ahead.
//
// # Unchanged
//
// An entry is unchanged when its kind, size, permissions, owner, group, inode
// number, mtime and ctime (both in nanoseconds) are those of the baseline. The
// device number is not compared: it changes when disks are found in another
// order at boot. A filesystem that makes up inode numbers at each mount makes
// everything look changed, which is slow but never wrong.
//
// # Hard links
//
// The first name in order holds the content; later ones become
// capstan.KindHardlink with Link set to it. Link entries carry the ownership,
// mode and times, but no size, extended attributes or ACLs: those stand with
// the first name. Only regular files are linked: a symbolic link, device or fifo
// with several names is stored under each.
//
// # Blocking
//
// When ctx ends, Scan returns within two seconds even if a system call hangs, as
// on a network filesystem whose server is gone. Then, and only then, the
// goroutine that hangs stays behind; once its call returns it closes what it
// opened and ends without calling hooks or emit. Busy names the object that a
// scan has been working on for the longest time.
package files
