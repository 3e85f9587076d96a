// Package drive knows what a tape drive and a changer do, and what must never be
// done with one.
//
// A tape is a row of objects, blocks and filemarks, numbered from 0; its end of data
// is the number after the last. Writing anywhere drops all that lay behind. Device is
// the bare device, with an implementation for the Linux driver (drive/st) and one for
// the emulator (drive/emulator). Drive is what everybody else uses: a Device with the
// rules that keep it from destroying what is on the tape.
//
// Use: New, then Load or Status, then Locate or Rewind, then blocks and filemarks;
// Close at the end. What has been written counts only after a WriteFilemarks with Sync
// has returned nil.
//
// The rules:
//   - After any error that leaves the position in doubt, nothing is read or written
//     until a Rewind, Locate or SpaceEOD was carried out and the drive itself has
//     named the position. A drive that was reset stands at its beginning, where the
//     next filemark would be the end of all data.
//   - A synchronous filemark is believed when the drive stands where the blocks that
//     were written say, else the position is lost. A reset of which another program was
//     told, since it sent the next command, is noticed there, too late for what lay at the
//     beginning of the tape: ask for the Position before each archive.
//   - A call that is given up when its context ends may still be at work in the
//     device. Until it has come back every other call fails with HungError; after
//     that the position is lost.
//
// Blocking: each call blocks until the device has answered (a locate takes minutes,
// the first load of an LTO-9 cartridge up to two hours) or its context ends, whose
// cause it then returns. The device itself may block for good; Close then leaves its
// one goroutine behind.
//
// A Drive is used from one goroutine at a time.
package drive
