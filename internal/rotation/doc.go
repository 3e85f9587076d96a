// Package rotation gives encrypted sets other recipients: every file of a set gets a
// new header, on every volume that holds it; what is encrypted stays as it is.
//
// Use: fill a Runner and call Rotate for one set after another; each call blocks
// until the set is done. Cancelling the context ends it between two writes.
//
// # Order of truth
//
// The catalog notes a rotation before its first step and what becomes of each file
// before it does. A file is replaced in one step, so that the volume holds the old
// one or the new one, whole; which of them, its header tells. When all files are
// there, and sums and signatures are made anew, one transaction makes the new files
// what the catalog says of the set. After a kill the set is readable with the old
// and the new keys together, and the same call again finishes it: with the old key
// alone, since what has its new header is not opened.
//
// # What can be found
//
// A copy that is not what was written keeps its old header and is named; the rest
// of the set goes on (capstan.ErrIncomplete).
package rotation
