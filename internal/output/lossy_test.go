package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"capstan"
)

// gate is a writer that blocks while it is shut, as a terminal does that nobody reads.
type gate struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	err   error         // given to all writes while set
	part  int           // bytes taken before err
	open  chan struct{} // closed: writes pass
	calls int
}

func newGate(open bool) *gate {
	g := &gate{open: make(chan struct{})}
	if open {
		close(g.open)
	}
	return g
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls++
	if g.err != nil {
		g.buf.Write(p[:min(g.part, len(p))])
		return min(g.part, len(p)), g.err
	}
	return g.buf.Write(p)
}

func (g *gate) fail(part int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.part, g.err = part, err
}

func (g *gate) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.String()
}

func TestLossyWritesLinesInOrder(t *testing.T) {
	t.Parallel()
	g := newGate(true)
	l := NewLossy(g, LossyOptions{})
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintf(l, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	fmt.Fprint(l, "two\nin ")
	fmt.Fprint(l, "one\n\nno end")
	want.WriteString("two\nin one\n\nno end\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if g.text() != want.String() {
		t.Errorf("got %q", g.text())
	}
	if l.Dropped() != 0 {
		t.Errorf("%d dropped", l.Dropped())
	}
	fmt.Fprintln(l, "too late")
	if l.Dropped() != 1 || strings.Contains(g.text(), "late") {
		t.Error("a line after Close")
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// A reader that pauses loses lines, is told how many, and gets what comes later.
func TestLossyDropsWholeLinesAndSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		l := NewLossy(g, LossyOptions{Queue: 64 * capstan.KiB})
		const total = 20_000
		for i := range total {
			fmt.Fprintf(l, "message %d\n", i)
			if i == 0 {
				synctest.Wait() // stuck in the first one
			}
		}
		l.mu.Lock()
		if l.held > 64<<10 || len(l.queue) > 1024 {
			t.Errorf("the queue holds %d bytes in %d lines", l.held, len(l.queue))
		}
		l.mu.Unlock()
		dropped := l.Dropped()
		if dropped == 0 {
			t.Fatal("nothing was dropped")
		}
		close(g.open)
		synctest.Wait()
		fmt.Fprintln(l, "after")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(g.text(), "\n"), "\n")
		shown := len(lines) - 2
		for i := range shown {
			if lines[i] != fmt.Sprintf("message %d", i) {
				t.Fatalf("line %d is %q", i, lines[i])
			}
		}
		if want := fmt.Sprintf("... %s messages dropped", Count(dropped)); lines[shown] != want || lines[shown+1] != "after" {
			t.Errorf("at the end %q, want %q", lines[shown:], want)
		}
		if int64(shown)+l.Dropped() != total || l.Dropped() != dropped {
			t.Errorf("%d shown and %d dropped of %d", shown, l.Dropped(), total)
		}
	})
}

func TestLossyDropsALineThatIsTooLong(t *testing.T) {
	t.Parallel()
	g := newGate(true)
	l := NewLossy(g, LossyOptions{Queue: 1000})
	for range 100 {
		fmt.Fprint(l, strings.Repeat("x", 100))
	}
	fmt.Fprint(l, "y\nshort\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if g.text() != "... 1 message dropped\nshort\n" {
		t.Errorf("got %q", g.text())
	}
}

func TestLossyCloseLeavesAStuckWriterBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		l := NewLossy(g, LossyOptions{})
		for i := range 500 {
			fmt.Fprintln(l, i)
		}
		synctest.Wait()
		delivered := make(chan error, 1)
		go func() { delivered <- l.Deliver(t.Context(), []byte("summary\n")) }()
		synctest.Wait()
		start := time.Now()
		if err := l.Close(); !errors.Is(err, ErrStuck) {
			t.Errorf("Close: %v", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("Close took %v", d)
		}
		if err := <-delivered; !errors.Is(err, ErrStuck) {
			t.Errorf("Deliver: %v", err)
		}
		if l.Dropped() != 500 {
			t.Errorf("%d dropped", l.Dropped())
		}
		start = time.Now()
		if err := l.Close(); !errors.Is(err, ErrStuck) || time.Since(start) != 0 {
			t.Errorf("second Close: %v after %v", err, time.Since(start))
		}
		close(g.open) // the write ends, and with it the goroutine
		synctest.Wait()
		if g.calls != 1 || l.Dropped() != 500 {
			t.Errorf("%d writes, %d dropped afterwards", g.calls, l.Dropped())
		}
	})
}

func TestLossyOutlivesAFailingWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(true)
		l := NewLossy(g, LossyOptions{})
		broken := errors.New("disk full")
		g.fail(3, broken)
		for i := range 50 {
			fmt.Fprintf(l, "line %d\n", i)
			synctest.Wait()
		}
		if l.Dropped() != 50 {
			t.Errorf("%d dropped", l.Dropped())
		}
		if g.calls > 60 {
			t.Errorf("%d writes for 50 lines: it spins", g.calls)
		}
		g.fail(0, nil)
		fmt.Fprint(l, "healed\n")
		if err := l.Close(); !errors.Is(err, broken) {
			t.Errorf("Close: %v", err)
		}
		if !strings.HasSuffix(g.text(), "\n... 50 messages dropped\nhealed\n") {
			t.Errorf("got %q", g.text())
		}
	})
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		l := NewLossy(g, LossyOptions{})
		fmt.Fprint(l, "event\n")
		synctest.Wait() // stuck in the event
		cause := errors.New("interrupted by the user")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(cause) })
		start := time.Now()
		if err := l.Deliver(ctx, []byte("never\n")); !errors.Is(err, cause) || time.Since(start) != time.Minute {
			t.Errorf("stuck: %v after %v", err, time.Since(start))
		}
		time.AfterFunc(time.Hour, func() { close(g.open) })
		big := strings.Repeat("z", 1<<20) + "\n"
		if err := l.Deliver(t.Context(), []byte(big)); err != nil || time.Since(start) < time.Hour {
			t.Errorf("slow: %v after %v", err, time.Since(start))
		}
		if g.text() != "event\n"+big {
			t.Errorf("got %.40q of %d bytes", g.text(), len(g.text()))
		}
		broken := errors.New("broken pipe")
		g.fail(0, broken)
		if err := l.Deliver(t.Context(), []byte("x\n")); !errors.Is(err, broken) {
			t.Errorf("broken: %v", err)
		}
		if err := l.Deliver(t.Context(), nil); err != nil {
			t.Errorf("nothing: %v", err)
		}
		if err := l.Close(); !errors.Is(err, broken) {
			t.Errorf("Close: %v", err)
		}
		if err := l.Deliver(t.Context(), []byte("x\n")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("closed: %v", err)
		}
		if l.Dropped() != 0 {
			t.Errorf("%d dropped", l.Dropped())
		}
	})
}

func TestLossyIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	g := newGate(true)
	l := NewLossy(g, LossyOptions{Queue: 8 * capstan.KiB, Size: func() (int, int) { return 80, 25 }})
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 500 {
				fmt.Fprintf(l, "lossy %d %d\n", w, i)
				if i%50 == 0 {
					if err := l.Deliver(t.Context(), fmt.Appendf(nil, "must %d %d\n", w, i)); err != nil {
						t.Error(err)
					}
				}
				l.Paint([]string{"view"})
			}
		})
	}
	group.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(g.text(), "must "); n != 40 {
		t.Errorf("%d deliveries of 40", n)
	}
	if n := int64(strings.Count(g.text(), "lossy ")) + l.Dropped(); n != 2000 {
		t.Errorf("%d lines of 2000 shown or dropped", n)
	}
}
