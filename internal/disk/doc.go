// Package disk holds the file operations of every writer of the house: create,
// write, sync, rename, remove, make directories, and the questions that come
// before them (how much room is there, is this one filesystem).
//
// # Use
//
// FS is a value; its zero value works on the operating system's files. A
// durable file is made by Create, Write, Sync, Close, Rename and SyncDir of the
// directory, in this order, and every error on the way counts. WriteNew and
// Replace do all of it for a small file. MkdirAll makes directories durable.
//
// Everything that is created is for its owner alone: files 0600, directories
// 0700. Backups hold the secrets of all users.
//
// # Errors
//
// An error names the operation and the path. A full disk or an exhausted quota
// is capstan.ErrNoSpace in errors.Is, whatever the platform calls it.
//
// # Blocking
//
// Every operation may block for as long as the operating system does: a dead
// network filesystem holds it forever, and no context can end that. Whoever
// must stay responsive calls from a goroutine that a watchdog observes.
//
// # Faults
//
// FS.Faults is asked before every operation and may fail, delay or block it.
// This is how tests put a full disk, a broken sector or a kill between any two
// steps of a writer; it is nil in production.
package disk
