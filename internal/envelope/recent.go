package envelope

import "sync"

// recentChunks is how many chunks stay in memory: one for each frame that is
// being read somewhere, since a frame begins in the chunk in which another ends.
const recentChunks = 8

// recent are the chunks that were last read in part. Its methods may be called
// from several goroutines; a chunk that was handed out is never changed.
type recent struct {
	mu   sync.Mutex
	kept []keptChunk // the latest last
}

type keptChunk struct {
	number int64
	plain  []byte
}

// get gives a chunk's content, or nil. The content of the last chunk may be empty
// and not nil, but then nobody asks for any of it.
func (r *recent) get(number int64) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.kept {
		if c.number == number {
			copy(r.kept[i:], r.kept[i+1:])
			r.kept[len(r.kept)-1] = c
			return c.plain
		}
	}
	return nil
}

// put keeps a chunk, in the place of the one that was not wanted for longest.
func (r *recent) put(number int64, plain []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.kept {
		if c.number == number {
			return
		}
	}
	if len(r.kept) == recentChunks {
		copy(r.kept, r.kept[1:])
		r.kept = r.kept[:recentChunks-1]
	}
	r.kept = append(r.kept, keptChunk{number, plain})
}
