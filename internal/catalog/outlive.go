package catalog

import (
	"context"
	"time"
)

// Outlive gives a context for records that must still be made when ctx has ended:
// it ends that long after ctx, and with its cause. While ctx lasts, the catalog is
// waited for as long as it takes. The caller calls stop when the record is made.
func Outlive(ctx context.Context, by time.Duration) (longer context.Context, stop context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(by, func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() {
		unhook()
		cancel(context.Canceled)
	}
}
