package pipeline

import (
	"capstan"
	"capstan/internal/archive"
	"capstan/internal/progress"
)

// StageScan is the stage that reads the sources of a backup. A source that waits for
// work of its own says so there.
const StageScan = "scan"

// The stages of a backup, as progress and reports name them.
const (
	stageBegin    = "begin"
	stageScan     = StageScan
	stagePack     = archive.StagePack
	stageWrite    = archive.StageWrite
	stageCommit   = "commit"
	stageComplete = "finish"
	stageRestore  = "restore"
	stageVerify   = "verify"
	stageRebuild  = "rebuild"
	stageCat      = "cat"
)

// forStart is what a run waits for before its first entry: that volumes answer.
// It has limits of its own, see attendTime.
const forStart progress.Resource = "volume to answer"

// packStages opens the stages that the packer drives and gives the hooks that
// move them; done closes them.
func (r *backupRun) packStages(sink *sink) (hooks archive.Hooks, done func()) {
	stages := map[string]*progress.Stage{
		archive.StageLayout: r.Tracker.Stage(stageScan),
		stagePack:           r.Tracker.Stage(stagePack),
		stageWrite:          r.Tracker.Stage(stageWrite),
	}
	pack, write := stages[stagePack], stages[stageWrite]
	pack.Begin()
	write.Begin()
	hooks = archive.Hooks{
		Packed: func(n int64) {
			pack.Moved(capstan.Bytes(n), 1)
			r.Tracker.Count(0, capstan.Bytes(n), 0)
		},
		Wrote: func(n int64) {
			write.Moved(capstan.Bytes(n), 1)
			r.Tracker.Count(0, 0, capstan.Bytes(n))
		},
		Wait: func(stage, on string) func() {
			if other := stages[on]; other != nil { // layout is called scan here
				return stages[stage].Wait(progress.ForStage(other.Name()), "")
			}
			if on != archive.OnVolume {
				return stages[stage].Wait(progress.Resource(on), "")
			}
			if r.Limit != nil && r.Stage == nil {
				return func() {} // limitedFile tells the volume from the rate
			}
			return stages[stage].Wait(progress.Resource(on), r.restingPlace())
		},
		Step: func(step string) func() { return r.step(step, sink.name) },
	}
	return hooks, func() {
		pack.End()
		write.End()
	}
}

// step tells of the begin and end of a key step of an archive.
func (r *backupRun) step(step, archive string) (done func()) {
	began := r.Now()
	e := progress.Event{Type: progress.EventBegin, Stage: step, Archive: archive}
	r.Tracker.Event(e)
	return func() {
		e.Type, e.Seconds = progress.EventEnd, r.Now().Sub(began).Seconds()
		r.Tracker.Event(e)
	}
}
