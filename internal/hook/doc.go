// Package hook runs the commands that stand before and after a job in the
// configuration.
//
// Use: Before, then the backup, then After, all under the job's lock: commands
// that make and remove a snapshot must not meet those of another run.
//
// Each command has a time limit; when it passes, or the context ends, the command
// and all that it started are ended. Commands have no terminal and no stdin. What
// they write is captured in bounded memory, its last lines are told when the
// command has ended, and values of secrets in it are covered.
//
// Blocking: Before and After block until their commands have ended, at most the
// sum of the time limits and of the seconds that ending takes.
package hook
