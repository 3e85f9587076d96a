package output

import (
	"context"
	"encoding/json"
	"fmt"
)

// resultBuffer is how many bytes of results are collected before they are written.
const resultBuffer = 64 << 10

// Results writes what a command is for to stdout, losslessly: it blocks as long as
// its reader does. The first failure is kept and returned by all later calls.
// Flush must be called at the end. One goroutine uses it.
type Results struct {
	deliver func([]byte) error
	tty     bool
	buf     []byte
	err     error
}

// Results starts the results of a command. They end with an error when ctx ends.
func (p *Printer) Results(ctx context.Context) *Results {
	return &Results{
		deliver: func(b []byte) error { return p.out.Deliver(ctx, b) },
		tty:     p.outTTY != nil,
	}
}

// Write adds bytes as they are.
func (r *Results) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 && r.err == nil {
		n := min(len(b), resultBuffer-len(r.buf))
		r.buf = append(r.buf, b[:n]...)
		b = b[n:]
		written += n
		if len(r.buf) == resultBuffer {
			r.flush()
		}
	}
	return written, r.err
}

// Line adds a line for people or scripts: cleaned of control characters on a
// terminal, where it is shown at once; byte for byte elsewhere.
func (r *Results) Line(text string) error {
	if r.tty {
		text = Clean(text)
	}
	if _, err := r.Write([]byte(text + "\n")); err != nil {
		return err
	}
	if r.tty {
		return r.Flush()
	}
	return nil
}

// Object adds a value as one line of JSON.
func (r *Results) Object(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("result as JSON: %w", err)
	}
	_, err = r.Write(append(line, '\n'))
	return err
}

// Flush writes what is collected.
func (r *Results) Flush() error {
	if r.err == nil && len(r.buf) > 0 {
		r.flush()
	}
	return r.err
}

func (r *Results) flush() {
	if err := r.deliver(r.buf); err != nil {
		r.err = fmt.Errorf("write to stdout: %w", err)
		r.buf = nil // a write of it may still be under way
		return
	}
	r.buf = r.buf[:0]
}
