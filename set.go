package capstan

import "time"

// RunStatus is the state of a run, and of the set that it made.
type RunStatus string

// The states of a run. Complete means: every planned entry is accounted for and
// every demanded copy exists. Partial: finished, but something named is missing.
const (
	RunRunning     RunStatus = "running"
	RunComplete    RunStatus = "complete"
	RunPartial     RunStatus = "partial"
	RunFailed      RunStatus = "failed"
	RunCancelled   RunStatus = "cancelled"
	RunInterrupted RunStatus = "interrupted"
)

// CopyState is the state of one archive on one volume. It is set only by the
// step that proves it, after the medium is durable.
type CopyState string

// The states of a copy, in the order of its life; the last five are found or
// decided later.
const (
	CopyPlanned   CopyState = "planned"
	CopyPacking   CopyState = "packing"
	CopySealed    CopyState = "sealed"
	CopyQueued    CopyState = "queued"
	CopyWriting   CopyState = "writing"
	CopyWritten   CopyState = "written"
	CopyVerified  CopyState = "verified"
	CopyFailed    CopyState = "failed"
	CopyDamaged   CopyState = "damaged"
	CopyMissing   CopyState = "missing"
	CopyForgotten CopyState = "forgotten"
)

// Counts are the totals of a run. Entries counts planned entries:
// Stored + Changed + Unchanged + Excluded + Vanished + Failed.
type Counts struct {
	Entries   int64 `json:"entries"`
	Stored    int64 `json:"stored"`
	Changed   int64 `json:"changed"`
	Unchanged int64 `json:"unchanged"`
	Excluded  int64 `json:"excluded"`
	Vanished  int64 `json:"vanished"`
	Failed    int64 `json:"failed"`
	Deleted   int64 `json:"deleted"`
	BytesIn   Bytes `json:"bytes_in"`  // logical bytes of the entries that the set holds
	BytesOut  Bytes `json:"bytes_out"` // bytes of all the set's files on one volume
}

// Count adds an entry's outcome.
func (c *Counts) Count(e *Entry) {
	if e.Outcome == OutcomeDeleted {
		c.Deleted++
		return
	}
	c.Entries++
	switch e.Outcome {
	case OutcomeStored:
		c.Stored++
	case OutcomeChanged:
		c.Changed++
	case OutcomeUnchanged:
		c.Unchanged++
	case OutcomeExcluded:
		c.Excluded++
	case OutcomeVanished:
		c.Vanished++
	case OutcomeFailed, OutcomeDeleted:
		c.Failed++
	}
	if e.Outcome.Held() && e.Kind == KindFile {
		c.BytesIn += Bytes(e.Size)
	}
}

// Set is what a run produced.
type Set struct {
	ID   SetID
	Job  JobKey
	Base SetID // the set that this incremental one builds on; empty for a full one
	// Consolidates is the set whose tree this one holds, without building on any: it was
	// made from that set and those below it, and stands in time where that set stands.
	// Empty for a set that was made from sources.
	Consolidates SetID
	Claim        string // random; with it this catalog claims the set on volumes. Empty: read from a volume
	Status       RunStatus
	Started      time.Time
	Finished     time.Time // zero while running
	Codec        Codec
	// Recipients are those to whom the set's files are encrypted: public keys of age,
	// or the word "passphrase". Empty: they are not.
	Recipients []string
	Host       string // name of the machine that ran it
	Sources    []string
	Counts     Counts
}

// EncryptedSuffix is the end of an encrypted file's name, behind that of the clear one.
const EncryptedSuffix = ".age"

// Encrypted reports whether the set's files are encrypted.
func (s *Set) Encrypted() bool { return len(s.Recipients) > 0 }

// ArchiveName is the name of one of the set's archives on every volume.
func (s *Set) ArchiveName(number ArchiveNumber, codec Codec) string {
	return s.FileName(ArchiveName(s.ID, number, codec))
}

// FileName is the name under which the set keeps a file that may be encrypted.
func (s *Set) FileName(clear string) string {
	if s.Encrypted() {
		return clear + EncryptedSuffix
	}
	return clear
}

// ClaimMark separates the home's id from Set.Claim in what a volume is told.
const ClaimMark = "#"

// Archive is one container file of a set.
type Archive struct {
	Set     SetID
	Number  ArchiveNumber
	Name    string // file name on every volume
	Codec   Codec
	Entries int64
	TarSize int64 // bytes of the uncompressed tar stream
	Size    int64 // bytes of the file
	Hash    Hash  // SHA-256 of the file
}

// Copy is one archive on one volume.
type Copy struct {
	Set      SetID
	Number   ArchiveNumber
	Volume   VolumeID
	State    CopyState
	Changed  time.Time // when State was set
	Verified time.Time // when its bytes were last read back and found right; zero if never
	Attempts int       // that failed since somebody last asked for the copy
	Retry    time.Time // a failed copy is tried again from then on; zero: it waits for a person
	Problem  string    // why it is failed, damaged or missing
}

// Demand is a volume that a set shall lie on whole.
type Demand struct {
	Volume VolumeID
	// State is queued until all of the set is on the volume, then written: its
	// archives, and after them the files that tell its content. Failed: it waits for
	// a person. Forgotten: nobody wants it there any more.
	State CopyState
}
