package pgdata

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// SlotStateLimit is more than a slot's state file is ever long, in bytes.
const SlotStateLimit = 4096

// SlotState is what the file pg_replslot/NAME/state says of a replication slot
// (ReplicationSlotOnDisk).
type SlotState struct {
	Name           string
	Format         SlotFormat
	Database       uint32 // OID; 0 for a physical slot
	Persistency    uint32 // 0 persistent, 1 ephemeral, 2 temporary; the server drops all but 0 when it starts
	CatalogXmin    uint32
	RestartLSN     LSN  // the oldest WAL that the slot's consumer may still need; 0 for one that reserves none
	ConfirmedFlush LSN  // what the consumer said it has; 0 for a physical slot
	Invalidated    bool // the server gave the slot up
	TwoPhase       bool
	Plugin         string // output plugin; empty for a physical slot
}

// Logical reports whether the slot is for logical decoding, which alone spills.
func (s *SlotState) Logical() bool { return s.Database != 0 }

// SlotFormat is the version and the length of the data that a state file states.
// A server reads one pair only.
type SlotFormat struct{ Version, Length uint32 }

// SlotFormatOf is the format that servers of a major version write and read;
// false for versions that are not known.
func SlotFormatOf(major int) (SlotFormat, bool) {
	switch major {
	case 13:
		return SlotFormat{2, 168}, true
	case 14, 15:
		return SlotFormat{2, 184}, true
	case 16:
		return SlotFormat{3, 184}, true
	case 17, 18:
		return SlotFormat{5, 184}, true
	}
	return SlotFormat{}, false
}

const slotMagic = 0x1051CA1

// Offsets in a state file. 14 put two fields before the plugin's name.
const (
	slotName           = 16
	slotDatabase       = 80
	slotPersistency    = 84
	slotCatalogXmin    = 92
	slotRestartLSN     = 96
	slotInvalidated    = 104 // an LSN up to 15, a cause since 16; 0: it is valid
	slotConfirmedFlush = 112
	slotPlugin13       = 120
	slotTwoPhase       = 128
	slotPlugin         = 129
	slotNameLength     = 64 // NAMEDATALEN
	slotHeader         = 16 // magic, checksum, version, length
	slotUnsummed       = 8  // of these the checksum leaves out
)

// ParseSlotState reads the content of a slot's state file of any known version.
func ParseSlotState(data []byte) (SlotState, error) {
	if len(data) < slotHeader {
		return SlotState{}, fmt.Errorf("slot state: %w: %d bytes", ErrDamaged, len(data))
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(data[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(data[at:]) }
	if magic := u32(0); magic != slotMagic {
		return SlotState{}, fmt.Errorf("slot state: %w: magic %#x, expected %#x", ErrDamaged, magic, slotMagic)
	}
	format := SlotFormat{u32(8), u32(12)}
	known := false
	for major := 13; major <= 18; major++ {
		f, _ := SlotFormatOf(major)
		known = known || f == format
	}
	if !known {
		return SlotState{}, fmt.Errorf("slot state: %w %d of %d bytes", ErrVersion, format.Version, format.Length)
	}
	if len(data) != slotHeader+int(format.Length) {
		return SlotState{}, fmt.Errorf("slot state: %w: %d bytes, expected %d", ErrDamaged, len(data), slotHeader+int(format.Length))
	}
	if got, want := crc32.Checksum(data[slotUnsummed:], crc32.MakeTable(crc32.Castagnoli)), u32(4); got != want {
		return SlotState{}, fmt.Errorf("slot state: %w: checksum %08x, expected %08x", ErrDamaged, got, want)
	}
	s := SlotState{
		Name: cString(data[slotName : slotName+slotNameLength]), Format: format, Database: u32(slotDatabase),
		Persistency: u32(slotPersistency), CatalogXmin: u32(slotCatalogXmin), RestartLSN: LSN(u64(slotRestartLSN)),
		ConfirmedFlush: LSN(u64(slotConfirmedFlush)),
	}
	plugin := slotPlugin13
	// What follows a cause of four bytes is padding.
	if s.Invalidated = u64(slotInvalidated) != 0; format.Version > 2 {
		s.Invalidated = u32(slotInvalidated) != 0
	}
	if format.Length > 168 {
		plugin, s.TwoPhase = slotPlugin, data[slotTwoPhase] != 0
	}
	s.Plugin = cString(data[plugin:min(plugin+slotNameLength, len(data))])
	if !ValidSlotName(s.Name) {
		return SlotState{}, fmt.Errorf("slot state: %w: the name %q is none of a slot", ErrDamaged, cut(s.Name))
	}
	return s, nil
}

// ValidSlotName reports whether a server accepts the name for a slot
// (ReplicationSlotValidateName).
func ValidSlotName(name string) bool {
	if name == "" || len(name) >= slotNameLength {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// cString is the text before the first NUL.
func cString(b []byte) string {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	return string(b)
}
