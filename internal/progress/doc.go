// Package progress knows what a run does at any moment: it counts, it holds the
// declared waits of the stages, and it watches for a stage that does neither.
//
// Use: New makes the Tracker of one run. Each stage of the data path asks for its
// Stage by name; a worker calls Begin when it starts and End when it leaves, Moved
// after every frame or batch that it finished, and Wait around everything that may
// block for a reason that is not its own. A stage is thus always either moving or
// waiting for a named resource since a known time. Views take a Snapshot, the end
// of a run takes the Report, and Watch warns and then fails a stage that neither
// moves nor declares a wait.
//
// Heartbeats count bytes or operations that are done. A ticker must never call
// Moved: it would say that a hung stage lives.
//
// Ordering: the stages of a snapshot stand in the order of their first use. A
// snapshot is consistent within each stage, not across stages.
//
// Blocking: nothing here waits for a reader. Methods hold a lock for well under a
// microsecond, so they may be called per frame or per batch of files, not per byte.
// Events go to bounded subscriptions that drop and count what does not fit. Only
// Watch and Subscription.Next block, until their context ends.
package progress
