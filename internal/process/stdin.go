package process

import (
	"errors"
	"io"
	"os"
)

// input copies a reader to a child's stdin.
type input struct {
	r      io.Reader
	w      *os.File
	ended  chan struct{} // closed when copy has returned
	broken chan<- error  // is told at once why r could not be read
}

// newInput gives the child's end of the pipe.
func newInput(r io.Reader, broken chan<- error) (in *input, child *os.File, err error) {
	child, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	return &input{r: r, w: w, ended: make(chan struct{}), broken: broken}, child, nil
}

// copy runs until the end of the reader or of the child. When the reader fails, the
// pipe stays open until the child is dead: an end of file would make half an input
// look like a whole one.
func (in *input) copy() {
	defer close(in.ended)
	source := &noted{r: in.r}
	_, err := io.Copy(in.w, source)
	switch {
	case source.err != nil:
		in.broken <- source.err // has room for every stream
	case err == nil:
		_ = in.w.Close() // a pipe has nothing to flush
	default: // a pipe takes no more when the child is dead or wants no more
	}
}

// noted tells errors of the reader from those of the pipe.
type noted struct {
	r   io.Reader
	err error
}

func (n *noted) Read(p []byte) (int, error) {
	read, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return read, err
}

// finish is called when the child is dead. It ends a write; a read that blocks is
// left behind.
func (in *input) finish() { _ = in.w.Close() }
