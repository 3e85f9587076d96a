// Package job carries a job out: under the job's lock it runs the hooks before
// it, opens what the job names, makes the backup, and runs the hooks after it.
//
// Use: make a Plan, call Runner.Run; it blocks until all of that is over.
//
// Order: a named job is locked first, and its sources and volume are opened only
// after its pre hooks: these may mount the one and snapshot the other. The
// unnamed job of an ad hoc run is known by its sources and volume, so these are
// opened before its lock is taken.
//
// Post hooks run whatever became of the run, with what is told to them of its
// outcome: also when a pre hook failed, when a source could not be opened, or
// when the context ended. They do not run when the job was locked by another run.
package job
