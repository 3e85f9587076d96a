// Package capstan holds the words of the backup system: what is read (Source,
// Item, Entry), where it rests (Volume, Archive, Copy), what a run makes of it
// (Set, Run) and how failures are told to people (Error).
//
// It is the root of the house: every other package may import it, it imports
// the standard library only, and it does no I/O of its own. A type stands here
// when two packages that must not know each other both speak of it.
package capstan
