package sets

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"capstan"
	"capstan/internal/archive"
)

// numbered is an archive whose frames each hold their own number, over and over.
func numbered(t *testing.T, frames int) *book {
	t.Helper()
	content := make([]byte, frames*archive.DefaultFrame)
	for i := range content {
		content[i] = byte(i / archive.DefaultFrame)
	}
	reader, err := archive.OpenReader(bytes.NewReader(content), int64(len(content)), capstan.CodecNone)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range reader.Frames() {
		if f.Length != archive.DefaultFrame {
			t.Fatalf("frame %d has %d bytes", i, f.Length)
		}
	}
	return &book{Opened: Opened{Reader: reader}}
}

// Where all that there is room for is in use, the next frame waits until one is not, or
// until its context ends.
func TestFramesWaitForRoom(t *testing.T) {
	b := numbered(t, 4)
	synctest.Test(t, func(t *testing.T) {
		f := newFrames(2*archive.DefaultFrame, 8)
		ctx, cancel := context.WithCancelCause(t.Context())
		get := func(index int) *frame {
			fr, err := f.get(ctx, b, index)
			if err != nil || fr.err != nil || fr.data[0] != byte(index) {
				t.Errorf("frame %d: %v %v", index, err, fr)
			}
			return fr
		}
		first, second := get(0), get(1)
		var third *frame
		go func() { third = get(2) }()
		synctest.Wait()
		if third != nil {
			t.Fatal("a third frame was given where there is room for two")
		}
		if again := get(1); again != second { // it takes no room
			t.Error("a frame that is in use was decoded again")
		}
		f.release(second, false)
		synctest.Wait()
		if third != nil {
			t.Fatal("a third frame was given, and the second has a user yet")
		}
		f.release(first, true)
		synctest.Wait()
		if third == nil {
			t.Fatal("there is room, and the third frame was not given")
		}
		ended := make(chan error, 1)
		go func() {
			_, err := f.get(ctx, b, 3)
			ended <- err
		}()
		synctest.Wait()
		cancel(capstan.ErrInterrupted)
		if err := <-ended; err != capstan.ErrInterrupted { //nolint:errorlint // it is the cause itself
			t.Errorf("waiting for room ended with %v", err)
		}
	})
}

// Many read frames of one archive, in no order: each gets what it asked for, and all
// buffers together stay within their room.
func TestFramesStayWithinTheirRoom(t *testing.T) {
	const budget, seed = 3 * archive.DefaultFrame, 77
	b := numbered(t, 12)
	f := newFrames(budget, 8)
	var group sync.WaitGroup
	for reader := range 8 {
		random := rand.New(rand.NewPCG(seed, uint64(reader)))
		group.Go(func() {
			for range 40 {
				index := random.IntN(12)
				fr, err := f.get(t.Context(), b, index)
				if err != nil || fr.err != nil || fr.data[0] != byte(index) || fr.data[archive.DefaultFrame-1] != byte(index) {
					t.Errorf("frame %d: %v", index, err)
					return
				}
				f.mu.Lock()
				if f.held+f.reserve > budget {
					t.Errorf("%d bytes are held and %d in reserve, of %d", f.held, f.reserve, budget)
				}
				f.mu.Unlock()
				f.release(fr, random.IntN(2) == 0)
			}
		})
	}
	group.Wait()
	f.drop(b)
	if len(f.known) != 0 || f.held != 0 || f.decoding != 0 || f.idle.Len() != 0 {
		t.Errorf("after the archive was given up: %d frames, %d bytes", len(f.known), f.held)
	}
}
