package emulator_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"capstan/internal/drive"
	"capstan/internal/drive/emulator"
)

var histories = flag.Int("histories", 300, "histories of a drive with faults that TestHistories goes through")

// TestHistories drives a tape at random, with resets, cuts of power and bad spots, and
// compares it with a list: what was synced is there, in its place and unchanged, until
// it is overwritten at a position that the drive had confirmed; nothing is there that
// was not written.
func TestHistories(t *testing.T) {
	t.Parallel()
	failures := 0
	for seed := range uint64(*histories) {
		core := emulator.NewDrive()
		core.Insert(emulator.Blank(0, 0))
		device, err := core.Device()
		if err != nil {
			t.Fatal(err)
		}
		h := &history{t: t, seed: seed, core: core, d: drive.New("lto1", device), random: rand.New(rand.NewPCG(seed, 7))}
		if err := h.d.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			h.step()
			if t.Failed() {
				t.Fatalf("seed %d: %v", seed, h.steps)
			}
		}
		if err := h.d.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		failures += h.broken
	}
	if failures < 5**histories {
		t.Errorf("only %d failures were met in %d histories", failures, *histories)
	}
}

// history is one tape with what must be on it.
type history struct {
	t      *testing.T
	seed   uint64
	core   *emulator.Drive
	d      *drive.Drive
	random *rand.Rand
	steps  []string

	list   []string // blocks by content; filemarks are empty
	synced int      // so many of them survive anything
	trying string   // the object that a failed call may have written or not
	failed bool     // there is such a call
	at     int      // where it would lie
	made   int
	broken int // failures that were met
}

// step does one thing, possibly with a fault in it.
func (h *history) step() {
	h.failed = false
	switch h.random.IntN(12) {
	case 0:
		ops := []emulator.Op{emulator.OpAny, emulator.OpWrite, emulator.OpMark, emulator.OpRead, emulator.OpLocate, emulator.OpSpace, emulator.OpPosition}
		fault := emulator.Fault{
			Op: ops[h.random.IntN(len(ops))], At: -1,
			Kind: []emulator.Kind{emulator.Reset, emulator.PowerCut, emulator.BadSpot}[h.random.IntN(3)],
		}
		h.core.Inject(fault)
		h.note("fault %d at %q", fault.Kind, fault.Op)
	case 1:
		h.core.Reset()
		h.note("reset")
	case 2:
		if err := h.core.CutPower(h.random.Int64N(4)); err != nil {
			h.t.Error(err)
		}
		h.note("power cut")
	}
	if err := h.act(); err != nil || !h.d.PositionKnown() {
		h.note("failed")
		h.broken++
		h.recover()
	}
}

func (h *history) note(format string, args ...any) {
	h.steps = append(h.steps, fmt.Sprintf(format, args...))
}

// act calls one method, at a position that is known.
func (h *history) act() error {
	ctx := h.t.Context()
	here, err := h.d.Position(ctx) // a reset that nobody was told of yet comes out here
	if err != nil {
		return err
	}
	switch n := h.random.IntN(10); n {
	case 0:
		h.note("rewind")
		return h.d.Rewind(ctx)
	case 1, 2:
		to := h.random.IntN(len(h.list) + 1)
		h.note("locate %d", to)
		return h.d.Locate(ctx, int64(to))
	case 3:
		h.note("read at %d", here)
		return h.read(int(here))
	case 4, 5:
		h.note("filemark at %d, sync %v", here, n == 4)
		return h.write(int(here), "", h.d.WriteFilemarks(ctx, 1, n == 4), n == 4)
	default:
		h.made++
		content := fmt.Sprintf("block %d of %d", h.made, h.seed)
		h.note("write %d at %d", h.made, here)
		return h.write(int(here), content, h.d.WriteBlock(ctx, []byte(content)), false)
	}
}

func (h *history) write(at int, content string, err error, sync bool) error {
	if err != nil {
		h.failed, h.trying, h.at = true, content, at
		return err
	}
	h.list, h.synced = append(h.list[:at:at], content), min(h.synced, at)
	if sync {
		h.synced = len(h.list)
	}
	return nil
}

// read reads the object at a place and compares it.
func (h *history) read(at int) error {
	p := make([]byte, 100)
	n, err := h.d.ReadBlock(h.t.Context(), p)
	switch {
	case errors.Is(err, drive.ErrEndOfData) && at == len(h.list):
		return nil
	case errors.Is(err, drive.ErrFilemark):
		p, n = nil, 0
	case err != nil:
		return err
	}
	if at >= len(h.list) || string(p[:n]) != h.list[at] {
		h.t.Errorf("object %d is %q", at, p[:n])
	}
	return nil
}

// recover finds out what is on the tape, as a program does after a failure, and
// compares it with what may be there.
func (h *history) recover() {
	end, err := h.end()
	if err != nil {
		h.t.Errorf("the drive has not recovered: %v", err)
		return
	}
	tried := h.failed && end == h.at+1 // it was written, or the object that was there before still is
	if !tried && (end < h.synced || end > len(h.list)) {
		h.t.Errorf("%d objects are on the tape, of %d with %d synced", end, len(h.list), h.synced)
		return
	}
	if tried && (h.at == len(h.list) || h.content(h.at) == h.trying) {
		h.list = append(h.list[:h.at:h.at], h.trying)
	}
	h.list = h.list[:end]
	h.synced = end
	for i, want := range h.list {
		if got := h.content(i); got != want {
			h.t.Errorf("object %d is %q, want %q", i, got, want)
		}
	}
	if _, err := h.end(); err != nil {
		h.t.Error(err)
	}
}

// tries is more than there are faults at a time.
const tries = 60

// end moves to the end of data; faults that are still to come happen on the way.
func (h *history) end() (end int, err error) {
	for range tries {
		var at int64
		if at, err = h.d.SpaceEOD(h.t.Context()); err == nil {
			return int(at), nil
		}
	}
	return 0, err
}

// content is what lies at a place, whatever it takes to read it; a filemark is empty.
func (h *history) content(at int) string {
	p := make([]byte, 100)
	err := errors.New("not tried")
	for range tries {
		if err = h.d.Locate(h.t.Context(), int64(at)); err != nil {
			continue
		}
		var n int
		n, err = h.d.ReadBlock(h.t.Context(), p)
		if err == nil || errors.Is(err, drive.ErrFilemark) {
			return string(p[:n])
		}
	}
	h.t.Errorf("object %d cannot be read: %v", at, err)
	return ""
}
