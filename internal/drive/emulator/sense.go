package emulator

import "fmt"

// Sense is what a command answers when there is more to say than "done" (SPC-4,
// fixed format).
type Sense struct {
	Key      Key
	Code     uint16 // ASC and ASCQ in one number
	Filemark bool   // a filemark was met
	EOM      bool   // beyond early warning, or at the beginning while spacing backwards
	ILI      bool   // the block has another length than was asked for
	// Residue is what was asked for and not done, in bytes or objects; of a block that
	// is too long it is negative. It says something only with Valid.
	Residue int64
	Valid   bool
}

// Key is a sense key.
type Key uint8

// The sense keys that the emulator gives.
const (
	NoSense        Key = 0
	NotReady       Key = 2
	MediumError    Key = 3
	HardwareError  Key = 4
	IllegalRequest Key = 5
	UnitAttention  Key = 6
	DataProtect    Key = 7
	BlankCheck     Key = 8
	VolumeOverflow Key = 13
)

// The additional sense codes that the emulator gives.
const (
	codeFilemark     = 0x0001
	codeEndOfMedium  = 0x0002
	codeBeginning    = 0x0004
	codeEndOfData    = 0x0005
	codeWriteError   = 0x0C00
	codeReadError    = 0x1100
	codeBadCommand   = 0x2000
	codeBadField     = 0x2400
	codeProtected    = 0x2700
	codeMediumChange = 0x2800
	codeReset        = 0x2900
	codeNoMedium     = 0x3A00
	codeInternal     = 0x4400
)

// Error is the sense in one line.
func (s *Sense) Error() string {
	return fmt.Sprintf("sense key %X, code %04X", uint8(s.Key), s.Code)
}

// Internal is the sense of a failure of the emulator's own disk.
func internal() *Sense { return &Sense{Key: HardwareError, Code: codeInternal} }
