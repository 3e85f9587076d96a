// Package tcmu shows the emulator to a Linux kernel as SCSI hardware, so that the
// kernel's own drivers can be tested: the tape driver st sees an LTO drive.
//
// It is for tests, in a virtual machine of their own. The kernel hands commands over
// in a ring in shared memory (target_core_user, "TCMU Design" in the kernel's
// documentation), and tcm_loop makes a SCSI bus of it.
//
// Use: Attach with a Target; the device nodes appear, /dev/nst0 and /dev/sg0 for the
// first drive. What is attached stays until the machine ends.
package tcmu
