package output

import (
	"encoding/json"
	"math"
	"sync"
	"time"
)

const (
	frameEvery = 200 * time.Millisecond // of the view on a terminal
	lineEvery  = 10 * time.Second       // of progress lines elsewhere
	lookEvery  = time.Second            // for stages that began to wait
	// A wait is worth a line of its own when it lasts; a pipeline in balance waits
	// many times a second. The same one is not told again within a minute.
	waitTold  = 3 * time.Second
	waitAgain = time.Minute
)

// Start shows progress until stop is called, which also takes the view away; Summary
// and Close do so too. view is called from one other goroutine, five times a second
// on a terminal, else once a second, and must not block.
//
// On a terminal the view is repainted in place. Elsewhere there is one line every
// ten seconds, and one when a stage has begun to wait. With JSON, what is no view on
// a terminal is an event of type "progress" instead. A later Start replaces this one.
func (p *Printer) Start(view func() View) (stop func()) {
	p.endProgress()
	if p.options.Quiet || p.options.NoProgress {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		p.progress(view, end)
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() { close(end) })
		<-ended
	}
	p.mu.Lock()
	p.stop = stop
	p.mu.Unlock()
	return stop
}

// endProgress stops the progress that is shown, if any.
func (p *Printer) endProgress() {
	p.mu.Lock()
	stop := p.stop
	p.stop = nil
	p.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// progress runs until end is closed.
func (p *Printer) progress(view func() View, end <-chan struct{}) {
	live := p.errTTY != nil && p.errTTY.escapes
	colour := live && p.options.Getenv("NO_COLOR") == ""
	every := lookEvery
	if live {
		every = frameEvery
		defer p.err.Paint(nil)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	log := plain{last: time.Now(), told: map[string]time.Time{}}
	for {
		select {
		case <-end:
			return
		case <-ticker.C:
		}
		v := view()
		if live {
			columns, _ := p.errTTY.size()
			if columns <= 0 {
				columns = 80
			}
			p.err.Paint(Render(v, columns-1, colour))
		}
		if (!live || p.options.JSON) && log.due(v, time.Now()) {
			p.progressLine(v)
		}
	}
}

// progressLine tells a view where it cannot be painted.
func (p *Printer) progressLine(v View) {
	if !p.options.JSON {
		p.Info("%s", Line(v))
		return
	}
	p.Event(v.event(time.Now()))
}

// plain decides when a progress line is due.
type plain struct {
	last time.Time
	told map[string]time.Time // stage and resource of waits
}

func (l *plain) due(v View, now time.Time) bool {
	due := now.Sub(l.last) >= lineEvery
	for _, s := range v.Stages {
		if !s.Active || s.Waiting == "" || s.For < waitTold {
			continue
		}
		key := s.Name + "\x00" + s.Waiting
		if told, ok := l.told[key]; !ok || now.Sub(told) >= waitAgain {
			due = true
			l.told[key] = now
		}
	}
	if due {
		l.last = now
	}
	return due
}

// progressEvent is a View as a run event.
type progressEvent struct {
	Type    string    `json:"type"`
	Time    time.Time `json:"time"`
	Seconds float64   `json:"seconds"`
	Left    *float64  `json:"seconds_left,omitempty"`
	View
}

func (v View) event(now time.Time) progressEvent {
	e := progressEvent{Type: "progress", Time: now, Seconds: seconds(v.Elapsed), View: v}
	if v.Left >= 0 {
		left := seconds(v.Left)
		e.Left = &left
	}
	return e
}

// MarshalJSON gives the fields by their JSON names, and the durations in seconds.
func (s StageView) MarshalJSON() ([]byte, error) {
	type fields StageView
	return json.Marshal(struct {
		fields
		Seconds float64 `json:"seconds"` // in this state
	}{fields(s), seconds(s.For)})
}

// seconds is a duration in seconds, rounded to milliseconds.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }
