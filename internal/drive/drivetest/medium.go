package drivetest

import (
	"time"

	"capstan/internal/drive"
)

func (b *bench) status(want drive.Status) {
	b.t.Helper()
	got, err := b.d.Status(b.ctx)
	b.must("status", err)
	if got != want {
		b.t.Fatalf("status %+v, want %+v", got, want)
	}
}

func noMedium(b *bench) {
	begun := time.Now()
	b.open()
	b.status(drive.Status{})
	if took := time.Since(begun); took > time.Minute { // a driver that waits takes two
		b.t.Errorf("opening an empty drive took %v", took)
	}
	b.want("rewind", b.d.Rewind(b.ctx), drive.ErrNoMedium)
	b.want("load", b.d.Load(b.ctx), drive.ErrNoMedium)
	_, err := b.d.Capacity(b.ctx)
	b.want("capacity", err, drive.ErrNoMedium)
	b.refused()

	b.Core.Insert(b.Blank(b.t, plenty, 0))
	b.status(drive.Status{Loaded: true})
	b.must("rewind", b.d.Rewind(b.ctx))
	b.write(0, 10)
	b.sync()
	b.onTape(10, 0)
}

func busy(b *bench) {
	b.load(plenty, 0)
	second, err := b.Open()
	if err == nil {
		_ = second.Close()
	}
	b.want("second open", err, drive.ErrBusy)
	b.close()
	b.reopen()
}

func writeProtected(b *bench) {
	cartridge := b.Blank(b.t, plenty, 0)
	b.Core.Insert(cartridge)
	b.reopen()
	b.write(0, 100)
	b.sync()
	b.must("unload", b.d.Unload(b.ctx))
	b.status(drive.Status{})
	b.Core.Remove()
	cartridge.WriteProtected = true
	b.Core.Insert(cartridge)

	for _, fresh := range []bool{false, true} { // opened with and without the switch set
		if fresh {
			b.reopen()
		} else {
			b.must("load", b.d.Load(b.ctx))
		}
		b.status(drive.Status{Loaded: true, WriteProtected: true})
		b.want("write", b.d.WriteBlock(b.ctx, content(1, 10)), drive.ErrWriteProtected)
		b.want("filemark", b.d.WriteFilemarks(b.ctx, 1, drive.Sync), drive.ErrWriteProtected)
		b.at(0)
		b.read(0, 100)
		b.onTape(100, 0)
	}
	b.must("unload", b.d.Unload(b.ctx))
	b.Core.Remove()
	b.Core.Insert(b.Blank(b.t, plenty, 0)) // the drive stays open, and this one may be written
	b.must("load", b.d.Load(b.ctx))
	b.write(3, 10)
	b.sync()
	b.onTape(10, 0)
}

func changeCartridge(b *bench) {
	b.load(plenty, 0)
	b.write(0, 100)
	b.sync()
	b.must("unload", b.d.Unload(b.ctx))
	b.refused()
	b.status(drive.Status{})
	first := b.Core.Remove()
	b.Core.Insert(b.Blank(b.t, plenty, 0))
	b.must("load", b.d.Load(b.ctx))
	b.readOutcome("the blank one", drive.ErrEndOfData)
	b.must("unload", b.d.Unload(b.ctx))
	b.Core.Remove()
	b.Core.Insert(first)
	b.must("load", b.d.Load(b.ctx))
	b.read(0, 100)

	// Somebody takes the cartridge out by hand and puts another in.
	b.must("locate", b.d.Locate(b.ctx, 2))
	b.Core.Remove()
	b.Core.Insert(b.Blank(b.t, plenty, 0))
	b.want("write onto another cartridge", b.d.WriteBlock(b.ctx, content(1, 10)), drive.ErrPositionLost)
	b.refused()
	b.onTape()
}
