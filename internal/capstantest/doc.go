// Package capstantest is the kit of the project's tests: trees that are hard to
// keep, a comparison that forgives nothing, and suites that every implementation
// of an interface must pass. It is imported from test files only, and shares no
// code with the packages that it judges.
//
// HostileTree and RealTree make something to back up; CompareTrees says how a
// restored tree differs from it; RemoveAll takes away what a test left, also
// where paths are longer than the system accepts. These four are for Linux: on
// other systems a test that uses them is skipped.
package capstantest
