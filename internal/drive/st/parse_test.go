//go:build linux && (amd64 || arm64)

package st

import (
	"errors"
	"testing"

	"capstan/internal/drive"
)

// TestSense: what a command's sense means, where no emulator gives it.
func TestSense(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		key  byte
		code uint16
		want error
	}{
		{0x6, 0x2900, drive.ErrPositionLost}, // reset
		{0x6, 0x2800, drive.ErrPositionLost}, // another cartridge
		{0xB, 0x4B00, drive.ErrPositionLost}, // aborted
		{0x2, 0x3A00, drive.ErrNoMedium},
		{0x2, 0x0401, drive.ErrPositionLost}, // becoming ready
		{0x5, 0x2400, drive.ErrUnsupported},
		{0x5, 0x5302, drive.ErrElementLocked},
	} {
		if err := error(&CommandError{Key: test.key, Code: test.code}); !errors.Is(err, test.want) {
			t.Errorf("sense key %X, code %04X does not mean %v", test.key, test.code, test.want)
		}
	}
}

// TestShortAnswers: an answer that was cut off anywhere gives what is whole in it.
func TestShortAnswers(t *testing.T) {
	t.Parallel()
	log := []byte{0x31, 0, 0, 16, 0, 1, 0x40, 4, 0, 0, 1, 0, 0, 3, 0x40, 4, 0, 0, 2, 0}
	for n := range len(log) + 1 {
		values, err := parseLog(0x31, log[:n])
		want := max(0, n-4) / 8 // each value takes 8 bytes behind a head of 4
		if n >= 4 && (err != nil || len(values) != want) || n < 4 && err == nil {
			t.Errorf("%d bytes of a log page gave %v and %v", n, values, err)
		}
	}
	if _, err := parseLog(0x2E, log); !errors.Is(err, drive.ErrUnsupported) {
		t.Errorf("another page than the one asked for: %v", err)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte{0x31, 0, 0, 8, 0, 1, 0x40, 4, 0, 0, 1, 0})
	f.Add([]byte{3, 232, 0, 1, 0, 0, 0, 24, 2, 0, 0, 16, 0, 0, 0, 16, 3, 232, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if values, err := parseLog(0x31, b); err == nil && len(values)*4 > len(b) {
			t.Errorf("%d values in %d bytes", len(values), len(b))
		}
		if all, err := parseElements(b); err == nil && len(all)*descriptorHead > len(b) {
			t.Errorf("%d elements in %d bytes", len(all), len(b))
		}
	})
}
