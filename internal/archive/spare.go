package archive

import "sync"

// spare keeps things of one kind for their next use: buffers of megabytes, which a
// sync.Pool would give to the garbage collector every other moment. It holds as
// many as were in use at once.
type spare[T any] struct {
	mu   sync.Mutex
	list []T
}

// get takes one out; false when there is none.
func (s *spare[T]) get() (one T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.list) - 1
	if last < 0 {
		return one, false
	}
	one = s.list[last]
	s.list = s.list[:last]
	return one, true
}

func (s *spare[T]) put(one T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, one)
}
