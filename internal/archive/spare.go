package archive

import (
	"slices"
	"sync"
)

// spare keeps things of one kind for their next use: buffers of megabytes, which a
// sync.Pool would give to the garbage collector every other moment. It holds as
// many as were in use at once.
type spare[T any] struct {
	mu   sync.Mutex
	list []T
}

// get takes out the one that was put last of those that fit; false when there is none.
func (s *spare[T]) get(fits func(T) bool) (one T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, one := range slices.Backward(s.list) {
		if fits(one) {
			s.list = slices.Delete(s.list, i, i+1)
			return one, true
		}
	}
	return one, false
}

func (s *spare[T]) put(one T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, one)
}
