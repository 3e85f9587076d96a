package progress

import "context"

// Guard does work and watches the tracker's stages meanwhile, as Watch does, until work
// returns. warn is told of a stall; when one lasts too long, work's context ends with
// what fail makes of it. Guard waits for work in every case: what does not end with its
// context is the caller's to leave behind.
func (t *Tracker) Guard(ctx context.Context, limits Limits, warn func(*Stall), fail func(*Stall) error, work func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive, over := context.WithCancel(ctx)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		_ = t.Watch(alive, limits, Actions{
			Warn: warn,
			Fail: func(s *Stall) { cancel(fail(s)) },
		}) // its error is the end of alive, or what fail was told
	}()
	defer func() {
		over()
		<-watching
	}()
	return work(ctx)
}
