package files

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"capstan"
)

func TestMain(m *testing.M) {
	if os.Getenv(strangerTree) != "" {
		os.Exit(scanAsStranger())
	}
	goleak.VerifyTestMain(m)
}

// scanAsStranger is the main function of the test binary when it runs again as
// an unprivileged user: it prints a line for each entry.
func scanAsStranger() int {
	s, err := New(os.Getenv(strangerTree), Options{})
	if err == nil {
		err = s.Scan(context.Background(), nil, func(ctx context.Context, b capstan.Batch) error {
			for i := range b.Items {
				e := &b.Items[i].Entry
				fmt.Fprintf(os.Stdout, "%s %s %s\n", e.Path, e.Outcome, e.Reason)
			}
			return discard(ctx, b)
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	return 0
}

func contextWithCancel(t *testing.T) (context.Context, context.CancelCauseFunc) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return ctx, cancel
}
