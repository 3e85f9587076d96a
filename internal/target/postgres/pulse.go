package postgres

import (
	"sync"

	"capstan"
	"capstan/internal/progress"
)

// pulse declares what a restore waits for while pg_restore runs. After each sign of life
// the wait begins anew, so that a long one is one in which nothing has moved. It is safe
// for concurrent use.
type pulse struct {
	stage *progress.Stage

	mu     sync.Mutex
	on     progress.Resource
	detail string
	done   func() // nil: it does not wait
}

// wait says what is waited for from now on; while it stays the same, so does the wait.
func (p *pulse) wait(on progress.Resource, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done != nil && p.on == on && p.detail == detail {
		return
	}
	p.on, p.detail = on, detail
	p.renew()
}

// renew begins the wait; p.mu is held.
func (p *pulse) renew() {
	if p.done != nil {
		p.done()
	}
	p.done = p.stage.Wait(p.on, p.detail)
}

// moved is the heartbeat.
func (p *pulse) moved(bytes capstan.Bytes, ops int64) {
	p.stage.Moved(bytes, ops)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done != nil {
		p.renew()
	}
}

// end ends the wait.
func (p *pulse) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done != nil {
		p.done()
	}
	p.done = nil
}
