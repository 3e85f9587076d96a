package archive

import "sync"

// waits declares the waits of one stage through the caller's hook. A stage with
// several workers waits when all of them do.
type waits struct {
	hook    func(stage, on string) func()
	stage   string
	workers int

	mu      sync.Mutex
	blocked int
	end     func()
}

// enter declares that a worker of the stage waits; leave must follow.
func (w *waits) enter(on string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hook == nil {
		return
	}
	w.blocked++
	if w.blocked == w.workers {
		w.end = w.hook(w.stage, on)
	}
}

func (w *waits) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hook == nil {
		return
	}
	w.blocked--
	if w.end != nil {
		w.end()
		w.end = nil
	}
}

// close ends the wait of workers that have ended.
func (w *waits) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = nil
	if w.end != nil {
		w.end()
		w.end = nil
	}
}
