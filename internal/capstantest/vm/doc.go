// Package vm runs a test program inside a virtual machine with a Linux kernel of its
// own, for what the host's kernel does not have or must not be tried on.
//
// It needs neither root nor hardware virtualisation: QEMU interprets every
// instruction, and the program is the machine's only process. scripts/install-vm.sh
// installs QEMU and the kernel.
//
// Use: a test on the host builds the program statically and gives it to Run. Inside,
// the program's TestMain hands over to Guest, which loads the kernel's modules, runs
// the tests and turns the machine off. What the tests print comes out of a serial
// port; the last line says with which code they ended.
//
// Blocking: Run blocks until the machine is off, or its context ends and it is killed.
package vm
