package pgdata_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"capstan/internal/pgdata"
)

// The values are those that pg_create_…_replication_slot gave and
// pg_replication_slots showed when the files were made.
func TestParseSlotState(t *testing.T) {
	t.Parallel()
	type want struct {
		restart, confirmed string
		database           uint32
	}
	for major, w := range map[int]struct{ logical, physical, twoPhase want }{
		13: {want{"0/15DD658", "0/15DD658", 13383}, want{"0/15C4968", "0/0", 0}, want{}},
		14: {want{"0/170EEF8", "0/170EEF8", 13695}, want{"0/16EFE20", "0/0", 0}, want{"0/170EF30", "0/170EF68", 13695}},
		15: {want{"0/151FA38", "0/151FA38", 5}, want{"0/1500708", "0/0", 0}, want{"0/151FA70", "0/151FAA8", 5}},
		16: {want{"0/14FCE28", "0/14FCE28", 5}, want{"0/14DDE08", "0/0", 0}, want{"0/14FCE60", "0/14FCE98", 5}},
		17: {want{"0/14F6708", "0/14F6708", 5}, want{"0/14D89D0", "0/0", 0}, want{"0/14F6740", "0/14F6778", 5}},
		18: {want{"0/176E590", "0/176E590", 5}, want{"0/174B250", "0/0", 0}, want{"0/176E5C8", "0/176E600", 5}},
	} {
		for name, want := range map[string]want{"logical_one": w.logical, "phys": w.physical, "twophase": w.twoPhase} {
			if name == "twophase" && major == 13 {
				continue
			}
			s, err := pgdata.ParseSlotState(golden(t, "slot-state-"+name, major))
			if err != nil {
				t.Errorf("%d %s: %v", major, name, err)
				continue
			}
			format, _ := pgdata.SlotFormatOf(major)
			plugin := "test_decoding"
			if name == "phys" {
				plugin = ""
			}
			if s.Name != name || s.Format != format || s.RestartLSN.String() != want.restart || s.ConfirmedFlush.String() != want.confirmed ||
				s.Database != want.database || s.Logical() != (want.database != 0) || s.Plugin != plugin || s.Invalidated || s.Persistency != 0 ||
				s.TwoPhase != (name == "twophase") {
				t.Errorf("%d %s: %+v", major, name, s)
			}
		}
	}
}

func TestSlotStateDamage(t *testing.T) {
	t.Parallel()
	whole := golden(t, "slot-state-logical_one", 17)
	for at := range whole {
		data := append([]byte(nil), whole...)
		data[at] ^= 0x10
		if s, err := pgdata.ParseSlotState(data); err == nil {
			t.Errorf("byte %d changed: %+v", at, s)
		}
	}
	for n := range whole {
		if _, err := pgdata.ParseSlotState(whole[:n]); err == nil {
			t.Errorf("%d bytes were accepted", n)
		}
	}
	if _, err := pgdata.ParseSlotState(append(slices.Clip(whole), 0)); !errors.Is(err, pgdata.ErrDamaged) {
		t.Errorf("a byte too many: %v", err)
	}
	change := func(at int, value []byte) []byte {
		data := append([]byte(nil), whole...)
		copy(data[at:], value)
		binary.LittleEndian.PutUint32(data[4:], crc32.Checksum(data[8:], crc32.MakeTable(crc32.Castagnoli)))
		return data
	}
	if _, err := pgdata.ParseSlotState(change(8, []byte{9})); !errors.Is(err, pgdata.ErrVersion) {
		t.Errorf("version 9: %v", err)
	}
	for _, name := range []string{"a.bak", "A", "../x", "a/b", strings.Repeat("x", 64), "\x00"} {
		if s, err := pgdata.ParseSlotState(change(16, []byte(name))); !errors.Is(err, pgdata.ErrDamaged) {
			t.Errorf("name %q: %+v, %v", name, s, err)
		}
	}
	if s, err := pgdata.ParseSlotState(change(104, []byte{1})); err != nil || !s.Invalidated {
		t.Errorf("invalidated: %+v, %v", s, err)
	}
	if _, ok := pgdata.SlotFormatOf(12); ok {
		t.Error("version 12 is known")
	}
}

func FuzzParseSlotState(f *testing.F) {
	for _, major := range []int{13, 15, 16, 18} {
		f.Add(golden(f, "slot-state-logical_one", major))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.Clone(data)
		if len(data) >= 8 { // without a right checksum nothing else is looked at
			binary.LittleEndian.PutUint32(data[4:], crc32.Checksum(data[8:], crc32.MakeTable(crc32.Castagnoli)))
		}
		s, err := pgdata.ParseSlotState(data)
		if err != nil {
			return
		}
		if !pgdata.ValidSlotName(s.Name) || !bytes.Contains(data, []byte(s.Name)) || !bytes.Contains(data, []byte(s.Plugin)) {
			t.Errorf("%+v", s)
		}
		data[uint64(s.RestartLSN)%uint64(len(data))] ^= 1 << (s.ConfirmedFlush % 8)
		if other, err := pgdata.ParseSlotState(data); err == nil {
			t.Errorf("with a flipped bit it is taken for %+v", other)
		}
	})
}
