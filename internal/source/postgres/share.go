package postgres

import (
	"fmt"
	"io"
	"sync"

	"capstan/internal/disk"
	"capstan/internal/pgcopy"
)

// share is a table that several workers read in parts: ranges of its pages, handed
// out in their order. The parts lie in the one data file in that order too, so that
// the file is the same whoever was faster.
type share struct {
	table *table
	datum *datum
	parts int64 // at least 1
	step  int64 // pages of each part but the last, which has no end: the table may have grown

	mu      sync.Mutex
	taken   int64
	done    int64
	read    pgcopy.Result // of all parts that have ended
	spool   *spool
	turn    int64           // whose frames go into the file at once
	waiting map[int64]*part // begun, not yet their turn
}

// part is one range on its way.
type part struct {
	number int64
	frames [][]byte
	size   int
	spill  *disk.File // frames that were too much for the memory, before those in frames
	ended  bool
}

const (
	// partBytes is about what a part has in pages: long enough that a statement costs
	// nothing beside it, short enough to be kept in memory compressed.
	partBytes = 16 << 20
	pageBytes = 8 << 10 // of nearly all servers; the parts of others are of other sizes
	// partMemory is how much of a part that is not in its turn is kept in memory.
	partMemory = 4 << 20
)

// newShare plans the parts of a table.
func newShare(t *table, d *datum) *share {
	s := &share{table: t, datum: d, parts: 1, step: partBytes / pageBytes, waiting: map[int64]*part{}}
	if !d.Query && d.Columns != "" {
		s.parts = max((t.pages+s.step-1)/s.step, 1)
	}
	return s
}

// take gives the next part that nobody has.
func (s *share) take() (*part, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken == s.parts {
		return nil, false
	}
	p := &part{number: s.taken}
	s.waiting[p.number] = p
	s.taken++
	return p, true
}

// statement reads one part. All of them together read each row once: the snapshot
// decides which version of a row is seen, and a version stays where it is while the
// table's lock is held.
func (s *share) statement(p *part) string {
	if s.parts == 1 {
		return s.datum.SQL
	}
	where := fmt.Sprintf("ctid >= '(%d,0)'", p.number*s.step)
	if p.number < s.parts-1 {
		where += fmt.Sprintf(" AND ctid < '(%d,0)'", (p.number+1)*s.step)
	}
	return fmt.Sprintf("COPY (SELECT %s FROM ONLY %s WHERE %s) TO stdout", s.datum.Columns, s.table.quoted, where)
}

// last reports whether a part ends the file.
func (s *share) last(p *part) bool { return p.number == s.parts-1 }

// write puts a frame of a part where it belongs: into the file if it is its turn,
// else aside.
func (s *share) write(p *part, frame []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.number == s.turn {
		return s.spool.write(frame)
	}
	p.frames = append(p.frames, append([]byte(nil), frame...))
	p.size += len(frame)
	if p.size > partMemory {
		return s.putAside(p)
	}
	return nil
}

// putAside moves what a part has in memory to a file of its own.
func (s *share) putAside(p *part) error {
	if p.spill == nil {
		file, err := s.spool.d.env.Disk.Create(fmt.Sprintf("%s.part%d", s.spool.file.Path(), p.number))
		if err != nil {
			return err
		}
		p.spill = file
	}
	for _, frame := range p.frames {
		if _, err := p.spill.Write(frame); err != nil {
			return err
		}
	}
	p.frames, p.size = nil, 0
	return nil
}

// end says that a part is read, and lets those after it have their turn. whole is
// true for the one call after which the file has everything.
func (s *share) end(p *part, r pgcopy.Result) (whole bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.ended = true
	s.done++
	s.read.Rows += r.Rows
	s.read.Bytes += r.Bytes
	s.read.Sum.Add(r.Sum)
	for {
		next := s.waiting[s.turn]
		if next == nil || !next.ended {
			return s.done == s.parts, nil
		}
		delete(s.waiting, s.turn)
		s.turn++
		if next = s.waiting[s.turn]; next == nil {
			continue
		}
		if err := s.bring(next); err != nil {
			return false, err
		}
	}
}

// bring puts what a part has aside into the file; it is its turn now.
func (s *share) bring(p *part) error {
	if p.spill != nil {
		if err := s.bringSpill(p); err != nil {
			return err
		}
	}
	for _, frame := range p.frames {
		if err := s.spool.write(frame); err != nil {
			return err
		}
	}
	p.frames, p.size = nil, 0
	return nil
}

func (s *share) bringSpill(p *part) error {
	fs, path := s.spool.d.env.Disk, p.spill.Path()
	if err := p.spill.Close(); err != nil {
		return err
	}
	file, err := fs.Open(path)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(writerFunc(s.spool.write), io.NewSectionReader(file, 0, file.Size()), make([]byte, frameSize))
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = fs.Remove(path)
	}
	p.spill = nil
	return err
}

// writerFunc makes a writer of a function that takes all it is given.
type writerFunc func([]byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
