package daemon

import (
	"sync"
	"time"

	"capstan/internal/progress"
)

// stageRecords is the stage whose workers are whoever waits to record something.
// It must not bear the name of the resource, see progress.ForStage.
const stageRecords = "records"

// sayAfter is how long a wait lasts before people are told without a progress view.
const sayAfter = 3 * time.Second

// waits declares the catalog's waits to the tracker, and tells of the first long
// one of each kind: it may come before any progress is shown, or where none is.
type waits struct {
	tracker *progress.Tracker
	say     func(format string, args ...any)
	after   time.Duration
	told    sync.Once // of another process
	silent  sync.Once // of the disk
}

// begin is for catalog.Options.Wait; it may be called by several at a time.
func (w *waits) begin(on string) (done func()) {
	stage := w.tracker.Stage(stageRecords)
	stage.Begin()
	resource := progress.ForCatalog
	if on == "lock" {
		resource = progress.ForLock
	}
	detail, once, text := "", &w.told, "waiting for the catalog: another Capstan writes to it"
	if on == "disk" {
		detail, once, text = "its disk to answer", &w.silent, "waiting for the catalog: its disk has not answered for some seconds"
	}
	over := stage.Wait(resource, detail)
	tell := time.AfterFunc(w.after, func() {
		once.Do(func() { w.say("%s", text) })
	})
	return func() {
		tell.Stop()
		over()
		stage.End()
	}
}
