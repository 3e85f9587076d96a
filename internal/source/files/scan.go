package files

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"capstan"
)

// stuckGrace is how long Scan waits for its goroutines after it was cancelled.
const stuckGrace = 2 * time.Second

var errScanOver = errors.New("the scan is over")

// run is one scan. What it holds outlives Scan only in contents and batches that
// were emitted, and in goroutines that hang in a system call.
type run struct {
	src      *Source
	opt      Options
	baseline capstan.Baseline
	cancel   context.CancelCauseFunc

	// Set by the walker before it passes anything on.
	root     *folder // of the source; of its parent where the source is no directory
	rootName string  // within root, where the source is no directory
	dev      uint64

	chunks   chan *chunk // in the order of emission
	work     chan *chunk // the same, for the readers
	loads    chan *load
	budget   *budget
	arena    arena
	links    linkTable
	contents atomic.Int32 // that keep their file open
	ahead    atomic.Int64 // names listed and not yet walked
	wg       sync.WaitGroup
}

func (s *Source) newRun(baseline capstan.Baseline, cancel context.CancelCauseFunc) *run {
	memory := int64(s.opt.Memory)
	s.mu.Lock()
	s.stations = nil
	s.mu.Unlock()
	return &run{
		src: s, opt: s.opt, baseline: baseline, cancel: cancel,
		chunks: make(chan *chunk, 1024),
		work:   make(chan *chunk, 2*s.opt.Readers),
		loads:  make(chan *load, maxLoads),
		budget: newBudget(memory),
		arena:  arena{keep: int(memory/blockSize) + 1},
		links:  linkTable{files: map[inode]*linkedFile{}},
	}
}

// Scan emits the tree as capstan.Source describes. An excluded entry carries
// its path, kind and reason alone, and stands for all that lies below it. A
// deleted entry is the baseline's own, and stands for all that lay below it. What
// the baseline holds below a directory that is excluded, unreadable or became
// something else is not emitted at all; what it holds in a directory that is not
// descended (OneFileSystem) is emitted as deleted.
//
// A stored entry with a reason is stored but for what the reason says: an
// extended attribute that could not be read, a mount point that was not
// descended. A failing Baseline ends the scan with its error.
func (s *Source) Scan(ctx context.Context, baseline capstan.Baseline, emit func(context.Context, capstan.Batch) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errScanOver)
	r := s.newRun(baseline, cancel)
	for range s.opt.Readers {
		rd, loader := r.newReader(), r.newReader()
		r.wg.Go(func() { rd.serve(ctx, r.work) })
		r.wg.Go(func() { loader.serveLoads(ctx, r.loads) })
	}
	w := &walker{run: r, reader: r.newReader(), held: r.followBaseline(ctx)}
	r.wg.Go(func() { w.walk(ctx) })

	e := &emitter{run: r, emit: emit, rescuer: r.newReader()}
	err := e.emitAll(ctx)
	if err != nil {
		cancel(err)
	}
	r.finish()
	return err
}

// finish waits for the goroutines, and lets go of what they have read and nobody
// has emitted.
func (r *run) finish() {
	over := make(chan struct{})
	go func() { // it stays behind with whoever hangs
		r.wg.Wait()
		if r.root != nil {
			r.root.release()
		}
		close(over)
	}()
	grace := time.NewTimer(stuckGrace)
	defer grace.Stop()
	select {
	case <-over:
	case <-grace.C:
	}
	for {
		select {
		case c, ok := <-r.chunks:
			if !ok {
				return
			}
			if c.abandon() {
				c.drop(0)
			}
		default:
			return
		}
	}
}

// elsewhere reports whether a directory lies on a filesystem that the scan keeps
// out of. Of files the device tells nothing: overlayfs gives them other device
// numbers than their directories (Documentation/filesystems/overlayfs.rst).
func (r *run) elsewhere(dir *stat) bool { return r.opt.OneFileSystem && dir.dev != r.dev }

// below gives the path within root of an emitted path.
func (r *run) below(path string) string {
	if r.rootName != "" {
		return r.rootName
	}
	if len(path) == len(r.src.name) {
		return ""
	}
	return path[len(r.src.name)+1:]
}
