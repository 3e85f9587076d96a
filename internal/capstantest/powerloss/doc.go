// Package powerloss says what a filesystem may hold after its power has failed:
// a log of every operation that a program asked of it, and, for any moment of that
// log, the files and names of which the program could not be sure any more.
//
// # Use
//
// slowfs.Record makes the log while a real program works; Read gives it back. Cut
// makes an Image of the log's first n operations, with the choices of a Fate about
// what was not synced; Write puts the image into an empty directory, where the
// program is started again.
//
//	log, err := powerloss.Read(file)
//	image, err := log.Cut(n, powerloss.Fate{Seed: 7, Data: powerloss.Each, Names: powerloss.Order})
//	err = image.Write(dir)
//
// # Model
//
// It promises what POSIX does and no more, but for two things that every journal
// of a filesystem gives: a rename or an exchange does not come apart, and a single
// name is there or not. What follows is more than ext4, XFS or btrfs take away.
//
//   - Content: what was written to a file is durable from an fsync or fdatasync of
//     that file on which began after the write had ended. Of what came later each
//     write, truncation and allocation is kept, lost, or torn by sectors of 512
//     bytes, whatever became of the others. A file may have grown without the
//     bytes, which are then zeros, or what the sectors held before.
//   - Names: what was made, renamed, linked or removed in a directory is durable
//     from an fsync of that directory on. Of what came later either, in each
//     directory, the first operations are kept and the last ones lost (Order), as a
//     journal does, but with directories independent of each other; or each
//     operation is kept or lost by itself (Each). An fsync of a file says nothing
//     about its name: a file whose name was lost is not there, and a directory
//     whose name was lost takes all below it along.
//   - A rename between directories is durable when one of the two was synced.
//   - Closing a file, the end of a process, sync_file_range and the passing of time
//     make nothing durable.
//   - Modes are those that the file had; owners, times and attributes are not kept.
//     An operation that the model does not know, such as a symbolic link, is an
//     error of Cut, so that nobody takes its absence for a result.
package powerloss
