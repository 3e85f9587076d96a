package progress

import (
	"sync"
	"time"

	"capstan"
)

// Resource is what a stage waits for: one of the constants, or ForStage of the
// stage whose work or whose room it needs.
type Resource string

// The resources outside the data path.
const (
	ForVolume  Resource = "volume"
	ForSpace   Resource = "space"
	ForDrive   Resource = "drive"
	ForCatalog Resource = "catalog"
	ForNetwork Resource = "network"
	ForLock    Resource = "lock"
	ForSource  Resource = "source"
	ForServer  Resource = "server" // a PostgreSQL server that starts or stops
	ForPerson  Resource = "person" // the watchdog never fires on it
)

// ForStage is the resource of waiting for another stage of the same run. No stage
// should bear the name of a resource: the two would be taken for each other.
func ForStage(name string) Resource { return Resource(name) }

// Stage is one step of the data path with one worker or several. It is active
// while a worker is between Begin and End. An active stage waits when all its
// active workers wait, for what the longest of these waits is for; else it moves.
type Stage struct {
	tracker *Tracker
	name    string

	mu      sync.Mutex
	active  int
	waits   []*wait   // open ones, oldest first
	since   time.Time // when the present state began
	counted time.Time // up to when moving, waiting and idle are counted
	moving  time.Duration
	waiting map[Resource]time.Duration
	idle    time.Duration // since the last move, without declared waits
	moves   uint64
	moved   time.Time // of the last move
	bytes   capstan.Bytes
	ops     int64
	object  string
}

type wait struct {
	resource Resource
	detail   string
}

// Name is the name that the stage was made with.
func (s *Stage) Name() string { return s.name }

// Begin says that a worker of the stage is active from now on. Every Begin is
// followed by one End.
func (s *Stage) Begin() {
	s.change(func() {
		s.active++
		if s.active == 1 {
			s.idle = 0
		}
	})
}

// End says that a worker left. An End without Begin does nothing.
func (s *Stage) End() {
	s.change(func() { s.active = max(s.active-1, 0) })
}

// Wait declares that one active worker waits; detail is for people ("nas1") and
// may be empty. The worker calls done when it goes on; calling it again does
// nothing. Where a worker waits within a wait (for room, within a write), the
// inner one counts.
func (s *Stage) Wait(on Resource, detail string) (done func()) {
	w := &wait{resource: on, detail: detail}
	s.change(func() { s.waits = append(s.waits, w) })
	return func() {
		s.change(func() {
			for i, open := range s.waits {
				if open == w {
					s.waits = append(s.waits[:i], s.waits[i+1:]...)
					return
				}
			}
		})
	}
}

// Moved is the heartbeat: bytes and operations that the stage has just finished.
func (s *Stage) Moved(bytes capstan.Bytes, ops int64) {
	now := s.tracker.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(now)
	s.bytes += bytes
	s.ops += ops
	s.moves++
	s.moved = now
	s.idle = 0
}

// Object names what the stage works on, for messages. It is no heartbeat.
func (s *Stage) Object(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.object = name
}

// change applies a change of state at the present time.
func (s *Stage) change(apply func()) {
	now := s.tracker.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(now)
	active, before := s.active > 0, s.current()
	apply()
	if active != (s.active > 0) || before != s.current() {
		s.since = now
	}
}

// count books the time since the last call under the present state; s.mu is held.
// A clock that was read before another caller took the lock may lie a little
// behind: that time is booked already.
func (s *Stage) count(now time.Time) {
	if s.counted.IsZero() {
		s.counted = now
	}
	d := now.Sub(s.counted)
	if d <= 0 {
		return
	}
	s.counted = now
	if s.active == 0 {
		return
	}
	if w := s.current(); w != nil {
		s.waiting[w.resource] += d
		return
	}
	s.moving += d
	s.idle += d
}

// current is the wait that holds the whole stage up, or nil; s.mu is held.
func (s *Stage) current() *wait {
	if s.active == 0 || len(s.waits) < s.active {
		return nil
	}
	return s.waits[len(s.waits)-s.active] // those beyond one a worker lie around others
}
