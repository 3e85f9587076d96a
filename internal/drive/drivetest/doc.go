// Package drivetest is the suite that every drive.Device must pass, seen through
// drive.Drive: what a tape drive does when all is well, and what must not happen when
// it is not.
//
// Behind each device stands the emulator: in the same process, with cartridges in
// memory or in files, or behind a kernel's tape driver as SCSI hardware. So every
// case can put cartridges in and let things go wrong, and afterwards looks at what
// lies on the tape without asking the device.
//
// It is for tests.
package drivetest
