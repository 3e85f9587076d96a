package process

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"
)

const (
	// drainTime is how long a read for the end of a dead child's output may last.
	drainTime = time.Second
	// pipeLimit is more than a pipe can hold: what comes on top of it after the
	// child's end comes from another process.
	pipeLimit = 1 << 20
)

// stream copies one output of a child to a writer. Unlike the copying of os/exec it
// gives a slow writer all the time it wants: only waiting for a dead child's pipe is
// bounded, else output would be cut off because the reader of a backup was busy.
type stream struct {
	r      *os.File
	w      io.Writer
	vital  bool          // the caller counts on all of it
	dead   atomic.Bool   // the child has ended
	ended  chan struct{} // closed when copy has returned; held is then valid
	held   bool          // another process has the pipe open
	broken chan<- error  // is told at once why the stream failed
}

// newStream gives the child's end of the pipe.
func newStream(w io.Writer, vital bool, broken chan<- error) (s *stream, child *os.File, err error) {
	r, child, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	return &stream{r: r, w: w, vital: vital, ended: make(chan struct{}), broken: broken}, child, nil
}

// copy runs until the end of the stream, a failure, or abandon.
func (s *stream) copy() {
	defer close(s.ended)
	err := s.pump()
	_ = s.r.Close() // whoever still writes gets SIGPIPE
	if err != nil && !errors.Is(err, os.ErrClosed) {
		s.broken <- err // has room for every stream
	}
}

func (s *stream) pump() error {
	buf := make([]byte, 32<<10)
	after, patient := 0, false
	for {
		n, err := s.r.Read(buf)
		dead := s.dead.Load()
		if n > 0 {
			if _, err := s.w.Write(buf[:n]); err != nil {
				return err
			}
			if dead {
				after += n
			}
		}
		switch {
		case err == nil && !dead:
		case err == nil && after <= pipeLimit:
			s.wait()
		case err == nil:
			s.held = true
			return nil
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded) && !patient: // finish has woken it
			patient = true
			s.wait()
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.held = true
			return nil
		default:
			return err
		}
	}
}

// wait bounds the next read. Where pipes know no deadlines, abandon ends it.
func (s *stream) wait() { _ = s.r.SetReadDeadline(time.Now().Add(drainTime)) }

// finish tells the stream that the child is dead.
func (s *stream) finish() {
	s.dead.Store(true)
	_ = s.r.SetReadDeadline(time.Unix(1, 0)) // wakes a read; where there are no deadlines, abandon does
}

// abandon gives up on the stream.
func (s *stream) abandon() { _ = s.r.Close() }
