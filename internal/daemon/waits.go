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
// one: it may come before any progress is shown, or where none is.
type waits struct {
	tracker *progress.Tracker
	say     func(format string, args ...any)
	after   time.Duration
	told    sync.Once
}

// begin is for catalog.Options.Wait; it may be called by several at a time.
func (w *waits) begin(on string) (done func()) {
	stage := w.tracker.Stage(stageRecords)
	stage.Begin()
	resource := progress.ForCatalog
	if on == "lock" {
		resource = progress.ForLock
	}
	over := stage.Wait(resource, "")
	tell := time.AfterFunc(w.after, func() {
		w.told.Do(func() { w.say("waiting for the catalog: another Capstan writes to it") })
	})
	return func() {
		tell.Stop()
		over()
		stage.End()
	}
}
