// Package st drives real tape drives and changers: tapes through the Linux driver
// "st" (its ioctls, <linux/mtio.h>), what that driver has no words for through SCSI
// commands (SG_IO).
//
// Use: Open a device node that does not rewind and has a stable name
// (/dev/tape/by-id/…-nst); give it to drive.New. OpenChanger for the robot's generic
// node (/dev/sgN). It is for Linux on 64-bit machines; elsewhere the package is empty.
//
// What the driver does on its own, seen with kernel 6.1 and read in its source, and
// what is done about it here:
//   - An open that may block waits two minutes for a cartridge; so opens never block,
//     and a drive is opened again until it has one.
//   - Closing the device after a write, and rewinding, seeking or unloading, writes a
//     filemark first. After a reset the tape stands at its beginning: a rewind, of all
//     things, would then end all data there. MTUNLOCK makes the driver forget that it
//     was writing, moves nothing, and so goes before every move and every close.
//   - Small writes from unaligned memory return before they are done, and a failure is
//     told to a later one. Transfers go from aligned memory, which the driver does at
//     once, and write-behind is switched off where the process may do that.
//   - Early warning is no error of the write that meets it. MTIOCGET tells (GMT_EOT), and
//     the ENOSPC that refuses every other write from then on is answered by writing
//     again; a second one is the end.
//   - Reading at the end of data without a filemark before it is EIO, as a medium error
//     is. They are told apart by where the end of data is.
//   - Resets are told to whoever sends the next command, also to one that only asks for
//     the capacity. Each command therefore says so when the position is lost.
//
// Blocking: every method but Close blocks as long as the drive does; the driver's own
// limits are 15 minutes for a transfer and some hours for a move. None can be
// interrupted.
package st
