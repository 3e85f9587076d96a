package drive_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"capstan/internal/drive"
	"capstan/internal/drive/emulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loaded gives a drive with a tape of four objects, and its core.
func loaded(t *testing.T, wrap func(drive.Device) drive.Device) (*drive.Drive, *emulator.Drive) {
	t.Helper()
	core := emulator.NewDrive()
	core.Insert(emulator.Blank(0, 0))
	device, err := core.Device()
	if err != nil {
		t.Fatal(err)
	}
	d := drive.New("lto1", wrap(device))
	if err := d.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.WriteBlock(t.Context(), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if err := d.WriteFilemarks(t.Context(), 1, drive.Sync); err != nil {
			t.Fatal(err)
		}
	}
	return d, core
}

func plain(d drive.Device) drive.Device { return d }

// stuck is a device that answers a move with success, and does not move.
type stuck struct{ drive.Device }

func (stuck) Rewind() error      { return nil }
func (stuck) Locate(int64) error { return nil }

func TestMovesAreConfirmed(t *testing.T) {
	t.Parallel()
	d, _ := loaded(t, func(d drive.Device) drive.Device { return stuck{d} })
	for name, move := range map[string]func() error{
		"rewind": func() error { return d.Rewind(t.Context()) },
		"locate": func() error { return d.Locate(t.Context(), 2) },
	} {
		if err := move(); !errors.Is(err, drive.ErrPositionLost) || d.PositionKnown() {
			t.Errorf("%s that moved nothing: %v, position known: %v", name, err, d.PositionKnown())
		}
	}
	if err := d.Locate(t.Context(), 4); err != nil { // where it stands
		t.Error(err)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// closes tells when a device is closed.
type closes struct {
	drive.Device
	closed chan struct{}
}

func (c closes) Close() error {
	defer close(c.closed)
	return c.Device.Close()
}

// giveUp hangs a question and gives it up.
func giveUp(t *testing.T, d *drive.Drive, core *emulator.Drive) *emulator.Fault {
	t.Helper()
	fault := core.Inject(emulator.Fault{Op: emulator.OpLog, At: -1, Kind: emulator.Hang})
	cause := errors.New("too long")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-fault.Met()
		cancel(cause)
	}()
	if _, err := d.Capacity(ctx); !errors.Is(err, cause) {
		t.Errorf("a question that hangs: %v", err)
	}
	return fault
}

func TestCloseWhileHung(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	d, core := loaded(t, func(d drive.Device) drive.Device { return closes{d, closed} })
	fault := giveUp(t, d, core)
	err := d.Close(t.Context())
	if hung, ok := errors.AsType[*drive.HungError](err); !ok || hung.Op != "capacity" || hung.Drive != "lto1" {
		t.Errorf("close while a question hangs: %v", err)
	}
	select {
	case <-closed:
		t.Error("the device was closed with a call in it")
	default:
	}
	fault.Release()
	<-closed
	if err := d.Close(t.Context()); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := d.Capacity(t.Context()); !errors.Is(err, drive.ErrClosed) {
		t.Errorf("question after close: %v", err)
	}
}

// TestPositionAfterAGivenUpCall: who knows what else it has done?
func TestPositionAfterAGivenUpCall(t *testing.T) {
	t.Parallel()
	d, core := loaded(t, plain)
	giveUp(t, d, core).Release()
	var err error
	for ticks := time.NewTicker(time.Millisecond); ; <-ticks.C { // until it has come back
		_, err = d.Limits(t.Context())
		if _, hung := errors.AsType[*drive.HungError](err); !hung {
			ticks.Stop()
			break
		}
	}
	if err != nil {
		t.Errorf("a question afterwards: %v", err)
	}
	if err := d.WriteBlock(t.Context(), make([]byte, 10)); !errors.Is(err, drive.ErrPositionLost) {
		t.Errorf("write afterwards: %v", err)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEndedContext(t *testing.T) {
	t.Parallel()
	d, core := loaded(t, plain)
	cause := errors.New("cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	before := len(core.Log())
	if err := d.WriteBlock(ctx, make([]byte, 10)); !errors.Is(err, cause) {
		t.Errorf("write with an ended context: %v", err)
	}
	if after := len(core.Log()); after != before {
		t.Error("the device was asked with an ended context")
	}
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	d, core := loaded(t, plain)
	before := len(core.Log())
	_, read := d.ReadBlock(t.Context(), nil)
	for name, err := range map[string]error{
		"an empty block":   d.WriteBlock(t.Context(), nil),
		"no filemarks":     d.WriteFilemarks(t.Context(), 0, drive.Sync),
		"a negative place": d.Locate(t.Context(), -1),
		"no buffer":        read,
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if len(core.Log()) != before || !d.PositionKnown() {
		t.Error("wrong arguments have reached the device, or lost the position")
	}
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
