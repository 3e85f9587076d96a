// Package emulator is a tape drive and a library made of nothing but files or memory.
//
// One core, Drive, answers as an LTO drive answers a host: with data, or with sense.
// It serves three: Device is the core as a drive.Device, in the same process, for tests
// and for the virtual library; behind a SCSI target it is what the Linux tape driver
// talks to.
//
// Use: a Cartridge, from Blank, Create or Open; NewDrive; Insert; then Device, or the
// SCSI methods. Faults are injected while it runs.
//
// Format: a cartridge is a SIMH magnetic tape image (.tap, "SIMH Magtape
// Representation and Handling", B. Supnik): each block as its length (32 bits, little
// endian), its bytes padded to an even number, and the length again; a filemark as a
// length of 0; a length with the highest bit set is a block that cannot be read. What
// follows an end of medium (0xFFFFFFFF), or a block that is not whole, counts as never
// written. A cartridge's capacity is the size that its file may have.
//
// What it models beyond that: early warning and hard end, a buffer that a cut of power
// empties down to the last synchronous filemark, unit attention after loads and resets,
// a reset that leaves the tape at its beginning, medium errors, hanging commands, a limit
// of block sizes, write protection, alerts. It does not model time.
//
// Blocking: no method blocks, but for disk I/O and an injected hang. A Drive may be
// used from several goroutines.
package emulator
