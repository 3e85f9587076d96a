package pipeline

import (
	"capstan"
	"capstan/internal/archive"
	"capstan/internal/progress"
)

// The stages of a backup, as progress and reports name them.
const (
	stageBegin    = "begin"
	stageScan     = "scan"
	stagePack     = archive.StagePack
	stageWrite    = archive.StageWrite
	stageCommit   = "commit"
	stageComplete = "finish"
	stageRestore  = "restore"
	stageVerify   = "verify"
)

// forStart is what a run waits for before its first entry: that volumes answer.
// It has limits of its own, see attendTime.
const forStart progress.Resource = "volume to answer"

// packStages opens the stages that the packer drives and gives the hooks that
// move them; done closes them.
func (e *Engine) packStages() (hooks archive.Hooks, done func()) {
	stages := map[string]*progress.Stage{
		archive.StageLayout: e.Tracker.Stage(stageScan),
		stagePack:           e.Tracker.Stage(stagePack),
		stageWrite:          e.Tracker.Stage(stageWrite),
	}
	pack, write := stages[stagePack], stages[stageWrite]
	pack.Begin()
	write.Begin()
	hooks = archive.Hooks{
		Packed: func(n int64) {
			pack.Moved(capstan.Bytes(n), 1)
			e.Tracker.Count(0, capstan.Bytes(n), 0)
		},
		Wrote: func(n int64) {
			write.Moved(capstan.Bytes(n), 1)
			e.Tracker.Count(0, 0, capstan.Bytes(n))
		},
		Wait: func(stage, on string) func() { return stages[stage].Wait(progress.Resource(on), "") },
	}
	return hooks, func() {
		pack.End()
		write.End()
	}
}
