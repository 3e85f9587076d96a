package pipeline

import (
	"context"
	"runtime"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/copier"
	"capstan/internal/envelope"
	"capstan/internal/manifest"
	"capstan/internal/progress"
	"capstan/internal/stage"
)

// Engine holds what every run needs. All fields are set once, before the first
// call; an Engine may serve several runs at once if Tracker is not shared.
type Engine struct {
	Catalog *catalog.Catalog
	Tracker *progress.Tracker // of this run
	Key     *manifest.Key     // signs the sets of this home
	// Identities open encrypted sets; nil opens none.
	Identities *envelope.Identities
	Host       string
	Now        func() time.Time
	// Open opens a volume that the catalog knows. The caller of Open closes it.
	Open func(ctx context.Context, info capstan.VolumeInfo) (capstan.Volume, error)
	// Staged gives the stage that holds archives of a set, for reading; nil if none
	// does, and where nobody looks for one.
	Staged func(ctx context.Context, set capstan.SetID) (*stage.Stage, error)
	// Say tells people one line, Warn one that they should not miss; neither blocks.
	Say  func(format string, args ...any)
	Warn func(format string, args ...any)
	// Workers is how many goroutines compress, decompress or write; 0 means one
	// per processor.
	Workers int
	// Memory bounds the buffers of a run, in bytes.
	Memory capstan.Bytes
	// Copier says how patient copies are tried again, and who holds volumes; runs
	// fill in the rest.
	Copier copier.Options
	// Dump keeps the goroutine stacks of a stall and says where; nil: nobody does.
	Dump func(stacks string) (where string)
}

// Problem is one thing that a run has to name: an entry that could not be read,
// a copy that is damaged.
type Problem struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
}

// maxProblems bounds how many problems a result lists; all are counted, said,
// and kept in the catalog.
const maxProblems = 1000

// problems collects what went wrong, in bounded memory.
type problems struct {
	Count int64
	List  []Problem
}

func (p *problems) add(object, reason string) {
	p.Count++
	if len(p.List) < maxProblems {
		p.List = append(p.List, Problem{Object: object, Reason: reason})
	}
}

func (e *Engine) workers() int {
	if e.Workers > 0 {
		return e.Workers
	}
	return max(runtime.GOMAXPROCS(0), 2)
}
