package progress

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"capstan"
)

// EventType says what an event is about.
type EventType string

// The types of events.
const (
	EventBegin EventType = "begin" // a key stage began on an archive
	EventEnd   EventType = "end"   // it ended, with Bytes, Seconds and, if it failed, Error
)

// The key stages, whose begin and end are events.
const (
	StepPack            = "pack"
	StepTarClose        = "tar close"
	StepCompressorClose = "compressor close"
	StepSync            = "sync"
	StepRename          = "rename"
	StepEnqueue         = "enqueue"
	StepWrite           = "write"
	StepVerify          = "verify"
	StepDelete          = "delete"
)

// Event is one line of a run's event stream.
type Event struct {
	Type    EventType     `json:"type"`
	Time    time.Time     `json:"time"`
	Stage   string        `json:"stage"`
	Archive string        `json:"archive,omitempty"` // file name
	Object  string        `json:"object,omitempty"`  // what else it is about: a volume, a path
	Bytes   capstan.Bytes `json:"bytes"`
	Seconds float64       `json:"seconds"` // from begin to end
	Queue   int           `json:"queue"`   // length of the queue that the stage takes from or adds to
	Error   string        `json:"error,omitempty"`
}

// Event sends an event to every subscription that has room for it and never
// blocks. A zero Time is set to now.
func (t *Tracker) Event(e Event) {
	subscribers := t.subscribers.Load()
	if subscribers == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = t.now()
	}
	for _, s := range *subscribers {
		select {
		case s.events <- e:
		default:
			s.dropped.Add(1)
		}
	}
}

// Step is Begin with its event; done is Moved and End with theirs, one operation
// done unless err is set. queue is the length of the stage's queue at this moment.
// done is called once; a second call does nothing.
func (s *Stage) Step(archive, object string, queue int) (done func(bytes capstan.Bytes, err error)) {
	began := s.tracker.now()
	s.Begin()
	s.Object(archive)
	e := Event{Type: EventBegin, Time: began, Stage: s.name, Archive: archive, Object: object, Queue: queue}
	s.tracker.Event(e)
	var once sync.Once
	return func(bytes capstan.Bytes, err error) {
		once.Do(func() {
			ops := int64(1)
			if err != nil {
				ops, e.Error = 0, err.Error()
			}
			s.Moved(bytes, ops)
			s.End()
			e.Type, e.Time, e.Bytes = EventEnd, s.tracker.now(), bytes
			e.Seconds = milli(e.Time.Sub(began))
			s.tracker.Event(e)
		})
	}
}

// Subscription receives the events of a run that were sent since Subscribe.
type Subscription struct {
	tracker *Tracker
	events  chan Event
	closed  chan struct{}
	once    sync.Once
	dropped atomic.Int64
}

// Subscribe starts a subscription that holds at most size unread events; what
// comes on top is dropped and counted. Close ends it.
func (t *Tracker) Subscribe(size int) *Subscription {
	s := &Subscription{tracker: t, events: make(chan Event, max(size, 1)), closed: make(chan struct{})}
	t.resubscribe(func(all []*Subscription) []*Subscription { return append(all, s) })
	return s
}

// resubscribe replaces the list of subscriptions, which senders read without a lock.
func (t *Tracker) resubscribe(change func([]*Subscription) []*Subscription) {
	t.subscribing.Lock()
	defer t.subscribing.Unlock()
	var all []*Subscription
	if old := t.subscribers.Load(); old != nil {
		all = append(all, *old...)
	}
	all = change(all)
	t.subscribers.Store(&all)
}

// Next gives the next event. It blocks until there is one; it returns io.EOF when
// the subscription is closed and read to its end, or the cause of ctx. One
// goroutine reads.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	select {
	case e := <-s.events:
		return e, nil
	default:
	}
	select {
	case e := <-s.events:
		return e, nil
	case <-ctx.Done():
		return Event{}, context.Cause(ctx)
	case <-s.closed:
	}
	select {
	case e := <-s.events:
		return e, nil
	default:
		return Event{}, io.EOF
	}
}

// Dropped is the number of events that did not fit.
func (s *Subscription) Dropped() int64 { return s.dropped.Load() }

// Close ends the subscription; what it holds can still be read. It may be called
// more than once.
func (s *Subscription) Close() {
	s.once.Do(func() {
		s.tracker.resubscribe(func(all []*Subscription) []*Subscription {
			kept := all[:0]
			for _, x := range all {
				if x != s {
					kept = append(kept, x)
				}
			}
			return kept
		})
		close(s.closed)
	})
}
