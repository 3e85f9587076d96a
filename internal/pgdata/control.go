package pgdata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"time"

	"capstan"
)

// ErrDamaged reports bytes that are not what they should be, or a read that met a
// write. It is a kind of capstan.ErrDamaged.
var ErrDamaged = fmt.Errorf("the file is %w or was read while it was written", capstan.ErrDamaged)

// ErrVersion reports a format that this package does not know.
var ErrVersion = errors.New("unknown format version")

// ControlSize is the length of pg_control in bytes (PG_CONTROL_FILE_SIZE).
const ControlSize = 8192

// State is what pg_control says of the cluster (DBState).
type State uint32

// The states of a cluster.
const (
	StateStartup            State = 0
	StateShutDown           State = 1
	StateShutDownInRecovery State = 2
	StateShuttingDown       State = 3
	StateCrashRecovery      State = 4
	StateArchiveRecovery    State = 5
	StateInProduction       State = 6
)

// String is the state in the words of pg_controldata.
func (s State) String() string {
	names := [...]string{
		StateStartup: "starting up", StateShutDown: "shut down", StateShutDownInRecovery: "shut down in recovery",
		StateShuttingDown: "shutting down", StateCrashRecovery: "in crash recovery",
		StateArchiveRecovery: "in archive recovery", StateInProduction: "in production",
	}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint32(s))
}

// Clean reports whether the cluster was shut down with a checkpoint, so that the
// next start has nothing to recover.
func (s State) Clean() bool { return s == StateShutDown || s == StateShutDownInRecovery }

// LSN is a place in the write-ahead log, in bytes from its beginning.
type LSN uint64

// String is the place as the server writes it: two hexadecimal halves.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

// Control is what pg_control says (ControlFileData).
type Control struct {
	SystemID       uint64 // made by initdb; clusters that were copied from one another share it
	Version        uint32 // of the format: 1300 for servers 13 to 16, then 1700, 1800
	Catalog        uint32 // catalog version
	State          State
	Modified       time.Time // when the file was last written
	Checkpoint     LSN       // of the last checkpoint's record
	Redo           LSN       // where a recovery from that checkpoint begins
	Timeline       uint32    // of that checkpoint
	CheckpointTime time.Time // when that checkpoint began
	SegmentSize    uint32    // bytes of a WAL segment: a power of two from 1 MiB to 1 GiB
}

// Offsets in the file. The compiler's padding is that of 64-bit little-endian
// machines, the only ones that the checksum then agrees with.
const (
	controlState          = 16
	controlModified       = 24
	controlCheckpoint     = 32
	controlRedo           = 40
	controlTimeline       = 48
	controlCheckpointTime = 104
	controlSegmentSize    = 228
	controlCRC            = 288 // of versions before 1800
	controlCRC18          = 292 // 18 added default_char_signedness
)

// ParseControl reads the content of global/pg_control.
func ParseControl(data []byte) (Control, error) {
	if len(data) < controlCRC18+4 {
		return Control{}, fmt.Errorf("pg_control: %w: %d bytes", ErrDamaged, len(data))
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(data[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(data[at:]) }
	version := u32(8)
	at := controlCRC
	switch version {
	case 1300, 1700:
	case 1800:
		at = controlCRC18
	default:
		if swapped := bits.ReverseBytes32(version); swapped >= 1300 && swapped < 10000 {
			return Control{}, fmt.Errorf("pg_control: %w: it is of a big-endian machine", ErrVersion)
		}
		return Control{}, fmt.Errorf("pg_control: %w %d; known are those of PostgreSQL 13 to 18", ErrVersion, version)
	}
	if got, want := crc32.Checksum(data[:at], crc32.MakeTable(crc32.Castagnoli)), u32(at); got != want {
		return Control{}, fmt.Errorf("pg_control: %w: checksum %08x, expected %08x", ErrDamaged, got, want)
	}
	c := Control{
		SystemID: u64(0), Version: version, Catalog: u32(12), State: State(u32(controlState)),
		Modified:   time.Unix(int64(u64(controlModified)), 0), //nolint:gosec // pg_time_t is signed
		Checkpoint: LSN(u64(controlCheckpoint)), Redo: LSN(u64(controlRedo)), Timeline: u32(controlTimeline),
		CheckpointTime: time.Unix(int64(u64(controlCheckpointTime)), 0), //nolint:gosec // the same
		SegmentSize:    u32(controlSegmentSize),
	}
	if c.State > StateInProduction {
		return Control{}, fmt.Errorf("pg_control: %w: %s", ErrDamaged, c.State)
	}
	if s := c.SegmentSize; s < 1<<20 || s > 1<<30 || s&(s-1) != 0 {
		return Control{}, fmt.Errorf("pg_control: %w: WAL segments of %d bytes", ErrDamaged, s)
	}
	return c, nil
}
