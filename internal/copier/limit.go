package copier

import (
	"context"
	"errors"

	"golang.org/x/time/rate"

	"capstan"
	"capstan/internal/progress"
)

// forRate is what a stage waits for that may not be faster.
const forRate progress.Resource = "rate limit"

// Limit bounds the bytes a second that are written, by all that share it.
type Limit struct{ bucket *rate.Limiter }

// NewLimit allows so many bytes a second, at least one, and no more than a chunk
// of 1 MiB at once beyond that.
func NewLimit(perSecond capstan.Bytes) *Limit {
	return &Limit{rate.NewLimiter(rate.Limit(max(perSecond, 1)), int(chunk))}
}

// Wait blocks until n bytes may be written, as a declared wait of the stage, or
// until ctx ends, with its cause.
func (l *Limit) Wait(ctx context.Context, stage *progress.Stage, n int) error {
	done := stage.Wait(forRate, "")
	defer done()
	for n > 0 {
		part := min(n, int(chunk))
		if err := l.bucket.WaitN(ctx, part); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			// WaitN does not begin to wait beyond the deadline of ctx.
			<-ctx.Done()
			return errors.Join(context.Cause(ctx), err)
		}
		n -= part
	}
	return nil
}
