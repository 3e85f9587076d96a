package pgserver

import (
	"fmt"
	"time"

	"capstan"
)

// WalsenderPolicy says what is done about a walsender that holds a stop up.
type WalsenderPolicy string

// The policies for walsenders, each with the means of those before it. The slot of a
// walsender that is ended keeps its place: its consumer gets everything after the
// next start. A physical standby may lack the last records until then.
const (
	WalsenderWait      WalsenderPolicy = "wait"      // for its consumer, wal_sender_timeout or a person
	WalsenderTerminate WalsenderPolicy = "terminate" // SIGTERM, after three seconds SIGTERM again
	WalsenderCut       WalsenderPolicy = "cut"       // then its socket is shut down
)

// ArchiverPolicy says what is done about an archive backlog. The cluster is shut
// down by then; what is not archived stays ready for the next start.
type ArchiverPolicy string

// The policies for the archiver.
const (
	ArchiverWait   ArchiverPolicy = "wait"           // until all WAL that is ready is archived
	ArchiverFinish ArchiverPolicy = "finish-current" // SIGTERM to the archiver: after the present file
	ArchiverAbort  ArchiverPolicy = "abort-command"  // SIGTERM to its command: the present file is copied again later
	ArchiverPause  ArchiverPolicy = "pause"          // archive_command is empty until the stop is over
)

// StopOptions say how a server is stopped.
type StopOptions struct {
	URL          string   // of the cluster's own server; empty: its socket, as PGDATA's owner
	ClusterName  string   // replaces what the configuration says; empty: asked for
	Consumers    []string // URLs of subscribers, whose subscriptions to this server are disabled
	LockRole     string   // is set NOLOGIN; empty: none
	NoCheckpoint bool     // no CHECKPOINT before the stop
	Walsender    WalsenderPolicy
	Archiver     ArchiverPolicy
	Timeout      time.Duration // of the whole; 0: none
	DryRun       bool          // only say what would be done
}

// check completes the options and refuses what is none.
func (o *StopOptions) check() error {
	if o.Walsender == "" {
		o.Walsender = WalsenderWait
	}
	if o.Archiver == "" {
		o.Archiver = ArchiverWait
	}
	usage := func(format string, args ...any) error {
		return &capstan.Error{Class: capstan.ErrUsage, Op: "stop", Err: fmt.Errorf(format, args...)}
	}
	switch o.Walsender {
	case WalsenderWait, WalsenderTerminate, WalsenderCut:
	default:
		return usage("--walsender=%s: it is wait, terminate or cut", o.Walsender)
	}
	switch o.Archiver {
	case ArchiverWait, ArchiverFinish, ArchiverAbort, ArchiverPause:
	default:
		return usage("--archiver=%s: it is wait, finish-current, abort-command or pause", o.Archiver)
	}
	if o.Timeout < 0 {
		return usage("--timeout=%s: it is not negative", o.Timeout)
	}
	return nil
}
