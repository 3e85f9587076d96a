// Package policy decides what is kept and why: of the sets of a job, by rules of
// retention, which ones may be let go.
//
// Use: Apply for rules, Choose for sets that a person names. Both give a Plan with
// a reason for each set and change nothing. The package reads no clock, no zone
// and no file: all is handed in, so a plan can be tested, printed and repeated.
//
// # What is never let go
//
// A set that is running or was interrupted, one that a volume has yet to get, one that
// is being restored or verified, a pinned one, the last one of a job that can be restored, and whatever a kept set
// builds on, down to its full set.
//
// # Order and time
//
// The newest set is the one with the highest id, as everywhere in Capstan; days,
// weeks, months and years are those of the sets' starting times in the given zone.
// The two can disagree after a clock was set. A set that is dated after now is kept
// and takes nobody's place, since either it or the clock is wrong.
package policy
