package drivetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"capstan"
	"capstan/internal/drive"
	"capstan/internal/drive/emulator"
)

// Rig is a device under test with the emulator behind it.
type Rig struct {
	// Core is the drive behind the device. It comes empty, without faults and limits.
	Core *emulator.Drive
	// Open opens the device; nothing else has it open.
	Open func() (drive.Device, error)
	// Blank makes an empty cartridge.
	Blank func(t *testing.T, capacity, warning capstan.Bytes) *emulator.Cartridge
}

// Run runs the suite. rig is called once for each case.
func Run(t *testing.T, rig func(t *testing.T) *Rig) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			// Much longer than any case takes, so that a device that hangs is named.
			ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Minute, errors.New("the case took too long"))
			defer cancel()
			b := &bench{t: t, ctx: ctx, Rig: rig(t)}
			defer func() {
				if t.Failed() {
					t.Logf("the last commands: %q", b.Core.Log())
				}
				b.close()
			}()
			c.run(b)
			if left := b.Core.Pending(); left > 0 && !t.Failed() {
				t.Errorf("%d faults did not happen", left)
			}
		})
	}
}

type testCase struct {
	name string
	run  func(b *bench)
}

func cases() []testCase {
	return []testCase{
		{"Blocks", blocks},
		{"Filemarks", filemarks},
		{"BlockTooLarge", blockTooLarge},
		{"LocatePastTheEnd", locatePastTheEnd},
		{"Overwrite", overwrite},
		{"UnterminatedEnd", unterminatedEnd},
		{"BlankTape", blankTape},
		{"CloseAddsNothing", closeAddsNothing},
		{"MovesAddNothing", movesAddNothing},
		{"NoMedium", noMedium},
		{"Busy", busy},
		{"WriteProtected", writeProtected},
		{"ChangeCartridge", changeCartridge},
		{"EarlyWarning", earlyWarning},
		{"HardEnd", hardEnd},
		{"ResetMidWrite", resetMidWrite},
		{"ResetBeforeSync", resetBeforeSync},
		{"ResetBeforeMove", resetBeforeMove},
		{"ResetBeforeClose", resetBeforeClose},
		{"ResetHeardByCapacity", resetHeardByCapacity},
		{"ResetHeardByAnother", resetHeardByAnother},
		{"ResetWhileReading", resetWhileReading},
		{"PowerCut", powerCut},
		{"MediumErrorReading", mediumErrorReading},
		{"MediumErrorWriting", mediumErrorWriting},
		{"Hang", hang},
		{"Limits", limits},
		{"BlockLimit", blockLimit},
		{"Capacity", capacity},
		{"Alerts", alerts},
	}
}

// bench is one case with its rig and the drive that it opened.
type bench struct {
	*Rig
	t   *testing.T
	ctx context.Context //nolint:containedctx // of one case, which is one call
	d   *drive.Drive
}

// The cartridge that most cases use: room for much more than they write.
const plenty = 64 * capstan.MiB

// load puts a blank cartridge in, opens the drive and loads it.
func (b *bench) load(capacity, warning capstan.Bytes) {
	b.t.Helper()
	b.Core.Insert(b.Blank(b.t, capacity, warning))
	b.reopen()
}

// reopen opens the drive, after closing it if it was open, and loads it.
func (b *bench) reopen() {
	b.t.Helper()
	b.open()
	b.must("load", b.d.Load(b.ctx))
}

func (b *bench) open() {
	b.t.Helper()
	b.close()
	device, err := b.Open()
	b.must("open", err)
	b.d = drive.New("lto1", device)
}

func (b *bench) close() {
	b.t.Helper()
	if b.d != nil {
		if err := b.d.Close(context.WithoutCancel(b.ctx)); err != nil {
			b.t.Errorf("close: %v", err)
		}
		b.d = nil
	}
}

// must ends the case on an error.
func (b *bench) must(what string, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// want ends the case unless err is an outcome.
func (b *bench) want(what string, err, outcome error) {
	b.t.Helper()
	if !errors.Is(err, outcome) {
		b.t.Fatalf("%s: %v, want: %v", what, err, outcome)
	}
}

// content is the content of block i of a tape; its bytes follow from i and the size.
func content(i, size int) []byte {
	p := make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(size), byte(size >> 8), byte(size >> 16)})
	_, _ = random.Read(p) // it never fails
	return p
}

// write writes block i of a size, which must succeed.
func (b *bench) write(i, size int) {
	b.t.Helper()
	b.must(fmt.Sprintf("write block %d of %d bytes", i, size), b.d.WriteBlock(b.ctx, content(i, size)))
}

// sync writes a filemark.
func (b *bench) sync() {
	b.t.Helper()
	b.must("synchronous filemark", b.d.WriteFilemarks(b.ctx, 1, drive.Sync))
}

// read reads a block, which must be block i of a size.
func (b *bench) read(i, size int) {
	b.t.Helper()
	p := make([]byte, drive.DefaultBlock)
	n, err := b.d.ReadBlock(b.ctx, p)
	b.must(fmt.Sprintf("read block %d", i), err)
	if !bytes.Equal(p[:n], content(i, size)) {
		b.t.Fatalf("block %d: %d bytes came back that differ from the %d written", i, n, size)
	}
}

// readOutcome reads where no block is.
func (b *bench) readOutcome(what string, outcome error) {
	b.t.Helper()
	_, err := b.d.ReadBlock(b.ctx, make([]byte, drive.DefaultBlock))
	b.want("read "+what, err, outcome)
}

// at checks where the drive says that it stands.
func (b *bench) at(want int64) {
	b.t.Helper()
	got, err := b.d.Position(b.ctx)
	b.must("position", err)
	if got != want {
		b.t.Fatalf("the tape stands at object %d, want %d", got, want)
	}
}

// onTape checks the tape itself, past the device: sizes of blocks, and 0 for filemarks.
func (b *bench) onTape(want ...int) {
	b.t.Helper()
	c, _ := b.Core.Cartridge()
	got, err := c.Layout()
	b.must("layout of the cartridge", err)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Fatalf("on the tape lie %v, want %v (blocks by size, 0 for a filemark)", got, want)
	}
}

// refused checks that with a lost position nothing is read, written or marked.
func (b *bench) refused() {
	b.t.Helper()
	if b.d.PositionKnown() {
		b.t.Fatal("the position counts as known")
	}
	b.want("write", b.d.WriteBlock(b.ctx, content(9, 100)), drive.ErrPositionLost)
	b.want("filemark", b.d.WriteFilemarks(b.ctx, 1, drive.Sync), drive.ErrPositionLost)
	b.readOutcome("at a lost position", drive.ErrPositionLost)
	_, err := b.d.Position(b.ctx)
	b.want("position", err, drive.ErrPositionLost)
	_, err = b.d.SpaceFilemarks(b.ctx, 1)
	b.want("space", err, drive.ErrPositionLost)
}
