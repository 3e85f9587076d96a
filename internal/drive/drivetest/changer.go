package drivetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"capstan"
	"capstan/internal/drive"
	"capstan/internal/drive/emulator"
)

// ChangerRig is a changer under test with the emulated library behind it: two drives,
// 150 slots, two mail slots, all empty.
type ChangerRig struct {
	Library *emulator.Library
	Cores   []*emulator.Drive
	// Open opens the changer, and OpenDrive the drives in order.
	Open      func() (drive.Changer, error)
	OpenDrive []func() (drive.Device, error)
}

// ChangerSlots is the number of slots in the library: more than are listed at once.
const ChangerSlots = 150

// RunChanger runs the suite of changers. The cases follow each other on one library.
func RunChanger(t *testing.T, rig *ChangerRig) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Minute, errors.New("the changer took too long"))
	defer cancel()
	b := &robot{t: t, ctx: ctx, ChangerRig: rig}
	changer, err := rig.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := changer.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	b.changer = changer
	for address, barcode := range map[drive.Address]string{
		emulator.FirstSlot: "CAP001L9", emulator.FirstSlot + 140: "CAP002L9", emulator.FirstMail + 1: "CLNU01L1", emulator.FirstSlot + 1: "",
	} {
		c := emulator.Blank(8*capstan.MiB, 7*capstan.MiB)
		c.Barcode = barcode
		if err := rig.Library.Place(address, c); err != nil {
			t.Fatal(err)
		}
	}
	b.inventory()
	b.refusals()
	b.roundTrip()
}

type robot struct {
	*ChangerRig
	t       *testing.T
	ctx     context.Context //nolint:containedctx // of one run of the suite
	changer drive.Changer
}

// find gives the element at an address.
func (b *robot) find(address drive.Address) drive.Element {
	b.t.Helper()
	all, err := b.changer.Inventory()
	if err != nil {
		b.t.Fatal(err)
	}
	if len(all) != 1+2+2+ChangerSlots {
		b.t.Fatalf("%d elements are listed", len(all))
	}
	for i, e := range all {
		if i > 0 && e.Address <= all[i-1].Address {
			b.t.Fatalf("element %d is listed behind %d", e.Address, all[i-1].Address)
		}
		if e.Address == address {
			return e
		}
	}
	b.t.Fatalf("element %d is not listed", address)
	return drive.Element{}
}

func (b *robot) inventory() {
	for _, want := range []drive.Element{
		{Address: emulator.FirstHand, Kind: drive.TransportElement},
		{Address: emulator.FirstMail, Kind: drive.MailElement},
		{Address: emulator.FirstMail + 1, Kind: drive.MailElement, Full: true, Accessible: true, Barcode: "CLNU01L1"},
		{Address: emulator.FirstDrive, Kind: drive.DriveElement},
		{Address: emulator.FirstDrive + 1, Kind: drive.DriveElement},
		{Address: emulator.FirstSlot, Kind: drive.SlotElement, Full: true, Accessible: true, Barcode: "CAP001L9"},
		{Address: emulator.FirstSlot + 1, Kind: drive.SlotElement, Full: true, Accessible: true}, // without a label
		{Address: emulator.FirstSlot + 140, Kind: drive.SlotElement, Full: true, Accessible: true, Barcode: "CAP002L9"},
		{Address: emulator.FirstSlot + ChangerSlots - 1, Kind: drive.SlotElement},
	} {
		if got := b.find(want.Address); got != want {
			b.t.Errorf("element %+v, want %+v", got, want)
		}
	}
}

func (b *robot) refusals() {
	for _, move := range []struct {
		from, to drive.Address
		want     error
	}{
		{emulator.FirstSlot + 5, emulator.FirstDrive, drive.ErrElementEmpty},
		{emulator.FirstSlot, emulator.FirstSlot + 140, drive.ErrElementFull},
		{emulator.FirstSlot, emulator.FirstSlot + ChangerSlots, drive.ErrUnsupported},
		{9, emulator.FirstDrive, drive.ErrUnsupported},
	} {
		if err := b.changer.Move(move.from, move.to); !errors.Is(err, move.want) {
			b.t.Errorf("move from %d to %d: %v, want: %v", move.from, move.to, err, move.want)
		}
	}
	b.inventory() // nothing was moved
}

func (b *robot) must(what string, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// open opens a drive and loads what lies in it.
func (b *robot) open(i int) *drive.Drive {
	b.t.Helper()
	device, err := b.OpenDrive[i]()
	b.must("open", err)
	d := drive.New("lto", device)
	b.must("load", d.Load(b.ctx))
	return d
}

// roundTrip writes a cartridge in one drive and reads it in the other.
func (b *robot) roundTrip() {
	one, two := emulator.FirstDrive, emulator.FirstDrive+1
	slot, other := emulator.FirstSlot, emulator.FirstSlot+140
	b.must("into drive 1", b.changer.Move(slot, one))
	if got := b.find(one); !got.Full || got.Barcode != "CAP001L9" {
		b.t.Errorf("drive 1 holds %+v", got)
	}
	first := b.open(0)
	b.must("write", first.WriteBlock(b.ctx, content(1, block)))
	b.must("filemark", first.WriteFilemarks(b.ctx, 1, drive.Sync))
	if b.find(one).Accessible {
		b.t.Error("a cartridge in use counts as accessible")
	}
	if err := b.changer.Move(one, slot); !errors.Is(err, drive.ErrElementLocked) {
		b.t.Errorf("move of a cartridge in use: %v", err)
	}
	b.must("unload", first.Unload(b.ctx))
	if !b.find(one).Accessible {
		b.t.Error("a cartridge that was given out is not accessible")
	}
	b.must("into drive 2", b.changer.Move(one, two))
	second := b.open(1)
	p := make([]byte, block)
	n, err := second.ReadBlock(b.ctx, p)
	b.must("read in drive 2", err)
	if string(p[:n]) != string(content(1, block)) {
		b.t.Error("drive 2 reads something else")
	}
	b.must("the other into drive 1", b.changer.Move(other, one))
	b.must("load", first.Load(b.ctx))
	if _, err := first.ReadBlock(b.ctx, p); !errors.Is(err, drive.ErrEndOfData) {
		b.t.Errorf("the other cartridge is not blank: %v", err)
	}
	for _, d := range []*drive.Drive{first, second} {
		b.must("unload", d.Unload(b.ctx))
		b.must("close", d.Close(b.ctx))
	}
	b.must("back", b.changer.Move(two, slot))
	b.must("back", b.changer.Move(one, other))
	b.inventory()
}
