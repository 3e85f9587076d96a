package drivetest

import (
	"context"
	"errors"
	"time"

	"capstan/internal/drive"
	"capstan/internal/drive/emulator"
)

// two writes two files of one block, and the beginning of a third.
func two(b *bench) {
	b.load(plenty, 0)
	b.write(0, 1000)
	b.sync()
	b.write(1, 1001)
	b.sync()
	b.write(2, 1002)
}

// intact checks that nothing of what was synced is gone, and that the drive can go on
// behind it.
func (b *bench) intact() {
	b.t.Helper()
	b.must("locate", b.d.Locate(b.ctx, 2))
	b.read(1, 1001)
	b.readOutcome("the filemark", drive.ErrFilemark)
	b.write(3, 1003)
	b.sync()
	b.onTape(1000, 0, 1001, 0, 1003, 0)
	b.must("rewind", b.d.Rewind(b.ctx))
	b.read(0, 1000)
}

func resetMidWrite(b *bench) {
	two(b)
	b.Core.Inject(emulator.Fault{Op: emulator.OpWrite, At: 5, Kind: emulator.Reset})
	b.want("write during a reset", b.d.WriteBlock(b.ctx, content(3, block)), drive.ErrPositionLost)
	// The drive stands at the beginning now, and would take a filemark there.
	b.refused()
	b.onTape(1000, 0, 1001, 0, 1002)
	b.must("rewind", b.d.Rewind(b.ctx))
	b.onTape(1000, 0, 1001, 0, 1002)
	b.intact()
}

func resetBeforeSync(b *bench) {
	two(b)
	b.Core.Inject(emulator.Fault{Op: emulator.OpMark, At: 5, Kind: emulator.Reset})
	b.want("filemark during a reset", b.d.WriteFilemarks(b.ctx, 1, drive.Sync), drive.ErrPositionLost)
	b.refused()
	b.onTape(1000, 0, 1001, 0, 1002)
	b.intact()
}

func resetBeforeMove(b *bench) {
	moves := []func() error{
		func() error { return b.d.Rewind(b.ctx) },
		func() error { return b.d.Locate(b.ctx, 4) },
		func() error { _, err := b.d.SpaceEOD(b.ctx); return err },
		func() error { _, err := b.d.SpaceFilemarks(b.ctx, -1); return err },
		func() error { return b.d.Unload(b.ctx) },
	}
	for i, move := range moves {
		two(b)
		b.Core.Reset()
		err := move() // most hear of it, and none may write the filemark that the driver likes to add
		b.onTape(1000, 0, 1001, 0, 1002)
		if i == 3 && err == nil {
			b.t.Fatal("a move that counts from where the tape stood succeeded after a reset")
		}
		if i == len(moves)-1 {
			b.must("load", b.d.Load(b.ctx))
		}
		b.intact()
	}
}

func resetBeforeClose(b *bench) {
	two(b)
	b.Core.Reset()
	b.close()
	b.onTape(1000, 0, 1001, 0, 1002)
	b.reopen()
	b.intact()
}

// resetHeardByCapacity: a question swallows the word of a reset. What comes next must
// not be written at the beginning of the tape.
func resetHeardByCapacity(b *bench) {
	questions := []func() error{
		func() error { _, err := b.d.Capacity(b.ctx); return err },
		func() error { _, err := b.d.Alerts(b.ctx); return err },
		func() error { _, err := b.d.Position(b.ctx); return err },
	}
	for _, question := range questions {
		two(b)
		b.Core.Reset()
		b.want("question after a reset", question(), drive.ErrPositionLost)
		b.refused()
		b.onTape(1000, 0, 1001, 0, 1002)
		b.intact()
	}
}

// resetHeardByAnother: another program on the machine asks the drive something after a
// reset, and is the one that is told. Who asks for the position before writing notices;
// who does not has destroyed the tape, and at least does not count it as written.
func resetHeardByAnother(b *bench) {
	two(b)
	b.Core.Reset()
	if sense := b.Core.TestReady(); sense == nil || sense.Key != emulator.UnitAttention {
		b.t.Fatalf("the other program was told %v", sense)
	}
	_, err := b.d.Position(b.ctx)
	b.want("position", err, drive.ErrPositionLost)
	b.refused()
	b.intact()

	two(b)
	b.Core.Reset()
	_ = b.Core.TestReady()
	b.write(3, 1003)
	b.want("synchronous filemark", b.d.WriteFilemarks(b.ctx, 1, drive.Sync), drive.ErrPositionLost)
	b.refused()
	b.onTape(1003, 0)
}

func resetWhileReading(b *bench) {
	two(b)
	b.must("locate", b.d.Locate(b.ctx, 2))
	b.Core.Reset()
	b.readOutcome("after a reset", drive.ErrPositionLost)
	b.refused()
	b.intact()
}

func powerCut(b *bench) {
	two(b)
	b.write(3, 500)
	b.Core.Inject(emulator.Fault{Op: emulator.OpWrite, At: 6, Kind: emulator.PowerCut})
	b.want("write during a cut of power", b.d.WriteBlock(b.ctx, content(4, block)), drive.ErrPositionLost)
	b.onTape(1000, 0, 1001, 0) // what was not synced is gone
	b.refused()
	end, err := b.d.SpaceEOD(b.ctx)
	b.must("space to the end", err)
	if end != 4 {
		b.t.Fatalf("the end of data is object %d, want 4", end)
	}
	b.intact()
}

func mediumErrorReading(b *bench) {
	two(b)
	b.write(3, 1003)
	b.sync()
	b.must("locate", b.d.Locate(b.ctx, 2))
	b.Core.Inject(emulator.Fault{Op: emulator.OpRead, At: 2, Kind: emulator.BadSpot})
	b.readOutcome("a bad spot", drive.ErrMedium)
	b.refused()
	b.must("locate what lies behind it", b.d.Locate(b.ctx, 4))
	b.read(2, 1002)
	b.read(3, 1003)
}

func mediumErrorWriting(b *bench) {
	two(b)
	b.Core.Inject(emulator.Fault{Op: emulator.OpWrite, At: 5, Kind: emulator.BadSpot})
	b.want("write on a bad spot", b.d.WriteBlock(b.ctx, content(3, block)), drive.ErrPositionLost)
	b.refused()
	b.onTape(1000, 0, 1001, 0, 1002)
	b.intact()
}

func hang(b *bench) {
	two(b)
	fault := b.Core.Inject(emulator.Fault{Op: emulator.OpWrite, At: 5, Kind: emulator.Hang})
	cause := errors.New("nobody wants to wait any longer")
	ctx, cancel := context.WithCancelCause(b.ctx)
	go func() {
		<-fault.Met()
		cancel(cause)
	}()
	b.want("write that hangs", b.d.WriteBlock(ctx, content(3, 100)), cause)
	err := b.d.Rewind(b.ctx)
	if hung, ok := errors.AsType[*drive.HungError](err); !ok || hung.Op != "write" {
		b.t.Fatalf("rewind while a write hangs: %v", err)
	}
	b.refused()
	fault.Release()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for { // the write comes back, late
		_, hung := errors.AsType[*drive.HungError](err)
		if !hung {
			break
		}
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			b.t.Fatal("the drive has not come back")
		}
		err = b.d.Locate(b.ctx, 4)
	}
	b.must("locate", err)
	b.read(2, 1002)
	b.intact()
}
