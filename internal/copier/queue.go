package copier

import (
	"context"
	"errors"
	"sync"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/progress"
)

// Stage is where sealed archives lie until their volumes have them.
type Stage interface {
	// Open opens a sealed file; fs.ErrNotExist if it is not there.
	Open(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeReader, error)
	// Remove removes sealed files; it may be repeated.
	Remove(ctx context.Context, set capstan.SetID, names ...string) error
}

// Options are what a Queue works with. All fields are set before Start.
type Options struct {
	Catalog *catalog.Catalog
	Tracker *progress.Tracker
	// Open opens a volume that the catalog knows. The Queue closes it.
	Open func(ctx context.Context, info capstan.VolumeInfo) (capstan.Volume, error)
	// Stage holds the archives; nil where they are read from other volumes only.
	Stage Stage
	// LeaseTime is for how long at a time the lease of a volume is had, in the
	// catalog; an owner that is stopped for longer loses the volume. 0: without a lease.
	LeaseTime time.Duration
	Purpose   string // of the lease, for people
	// Finish writes the files that tell the set's content, when all its archives are
	// on the volume, and records that. It may be repeated, and calls beat as it moves.
	Finish func(ctx context.Context, volume capstan.Volume, beat func()) error
	Owner  string // with which the set's name is claimed on volumes
	Say    func(format string, args ...any)
	Now    func() time.Time
	Limit  *Limit // of the bytes a second, of all volumes together; nil: none

	Attempts   int           // of a copy, and to open a volume; 0 means 5
	Backoff    time.Duration // before the second attempt; it grows fourfold each time; 0 means 1 s
	MaxBackoff time.Duration // 0 means 1 min
	Grace      time.Duration // that a volume which was cut off has to let go; 0 means 10 s
}

// Volume is one that shall hold the set: opened, or not there at the moment.
type Volume struct {
	Info   capstan.VolumeInfo
	Opened capstan.Volume // the Queue closes it; nil: Options.Open is asked
}

// Outcome is what became of one volume.
type Outcome struct {
	Volume   capstan.VolumeID  `json:"volume"`
	Location string            `json:"location"`
	State    capstan.CopyState `json:"state"`    // written, or failed
	Archives int               `json:"archives"` // written by this Queue
	Bytes    capstan.Bytes     `json:"bytes"`
	Problem  string            `json:"problem,omitempty"`
	Stuck    bool              `json:"stuck,omitempty"` // it was left behind in a call that did not return
}

// Queue brings one set to its volumes. Its methods may be called from several
// goroutines.
type Queue struct {
	options Options
	set     capstan.SetID
	owners  []*owner
	cancel  context.CancelCauseFunc
	ended   sync.WaitGroup

	removing chan struct{} // holds one token while nobody takes files from the stage

	mu   sync.Mutex
	full bool  // no more archives will be queued
	err  error // the first failure of the catalog
}

// Start starts an owner for each volume. Everything ends with ctx; Drain must
// be called all the same.
func Start(ctx context.Context, o Options, set capstan.SetID, volumes []Volume) *Queue {
	o.complete()
	ctx, cancel := context.WithCancelCause(ctx)
	q := &Queue{options: o, set: set, cancel: cancel, removing: make(chan struct{}, 1)}
	q.removing <- struct{}{}
	for _, v := range volumes {
		q.owners = append(q.owners, q.newOwner(v))
	}
	for _, w := range q.owners {
		q.ended.Go(func() { w.run(ctx) })
	}
	return q
}

func (o *Options) complete() {
	if o.Attempts == 0 {
		o.Attempts = 5
	}
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{{&o.Backoff, time.Second}, {&o.MaxBackoff, time.Minute}, {&o.Grace, 10 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
}

// Wake tells the owners that something was queued for them.
func (q *Queue) Wake() {
	for _, w := range q.owners {
		select {
		case w.wake <- struct{}{}:
		default: // it will look anyhow
		}
	}
}

// Drain waits until every volume has all of the set or has been given up, and
// gives what became of each. It must be called once, when the last archive is
// queued or none will be. Its error is the cause with which ctx ended, or that the catalog failed.
func (q *Queue) Drain() ([]Outcome, error) {
	q.mu.Lock()
	q.full = true
	q.mu.Unlock()
	q.Wake()
	q.ended.Wait()
	q.cancel(errors.New("the queue is drained"))
	outcomes := make([]Outcome, len(q.owners))
	for i, w := range q.owners {
		outcomes[i] = w.outcome
	}
	return outcomes, q.err
}

// Stop ends all owners with the cause, in place of Drain; what is queued stays so.
func (q *Queue) Stop(cause error) {
	q.cancel(cause)
	q.ended.Wait()
}

// Cut cuts off the volume whose owner is the named stage, with the cause; it
// reports false if there is none, or none that is at work.
func (q *Queue) Cut(stage string, cause error) bool {
	for _, w := range q.owners {
		if w.stage.Name() == stage {
			return w.cutOff(cause)
		}
	}
	return false
}

// isFull reports whether no more archives will be queued.
func (q *Queue) isFull() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.full
}

// fail ends all owners: what they do could not be recorded.
func (q *Queue) fail(err error) {
	q.mu.Lock()
	if q.err == nil {
		q.err = err
	}
	q.mu.Unlock()
	q.cancel(err)
}

// settled removes the staged file of an archive when no volume waits for it.
func (q *Queue) settled(ctx context.Context, a capstan.Archive) error {
	if q.options.Stage == nil {
		return nil
	}
	select {
	case <-q.removing: // of two owners that finish together, the last one sees both
	case <-ctx.Done(): // the stage hangs; its next opening removes the file
		q.options.Say("%s is still in the stage: %v", a.Name, context.Cause(ctx))
		return nil
	}
	defer func() { q.removing <- struct{}{} }()
	awaited, err := q.options.Catalog.Awaited(ctx, q.set, a.Number)
	if err != nil || awaited {
		return err
	}
	began := q.options.Now()
	e := progress.Event{Type: progress.EventBegin, Stage: progress.StepDelete, Archive: a.Name}
	q.options.Tracker.Event(e)
	err = q.options.Stage.Remove(ctx, q.set, a.Name)
	e.Type, e.Bytes, e.Seconds = progress.EventEnd, capstan.Bytes(a.Size), q.options.Now().Sub(began).Seconds()
	if err != nil {
		// The next opening of the stage removes it.
		e.Error = err.Error()
		q.options.Say("%s is on all its volumes, but still in the stage: %v", a.Name, err)
	}
	q.options.Tracker.Event(e)
	return nil
}
