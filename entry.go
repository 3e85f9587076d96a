package capstan

import "time"

// EntryKind is what an entry is.
type EntryKind uint8

// The kinds of entries. The numbers are stored in catalogs and never change.
const (
	KindFile       EntryKind = 1
	KindDir        EntryKind = 2
	KindSymlink    EntryKind = 3
	KindHardlink   EntryKind = 4 // another name of a file that the set holds under Entry.Link
	KindCharDevice EntryKind = 5
	KindBlkDevice  EntryKind = 6
	KindFifo       EntryKind = 7
	KindSocket     EntryKind = 8 // never stored; listed as excluded
)

var kindNames = [...]string{
	KindFile: "file", KindDir: "dir", KindSymlink: "symlink", KindHardlink: "hardlink",
	KindCharDevice: "char-device", KindBlkDevice: "block-device", KindFifo: "fifo", KindSocket: "socket",
}

// String is the word that manifests and JSON output use.
func (k EntryKind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "unknown"
}

// ParseEntryKind reads the word that String writes; it gives 0 for another.
func ParseEntryKind(s string) EntryKind {
	for kind, name := range kindNames {
		if name == s && s != "" {
			return EntryKind(kind)
		}
	}
	return 0
}

// Outcome is what became of a planned entry. A run is complete when every
// planned entry is stored, changed, unchanged, excluded or vanished.
type Outcome uint8

// The outcomes. The numbers are stored in catalogs and never change.
const (
	OutcomeStored    Outcome = 1
	OutcomeChanged   Outcome = 2 // stored, but it changed while it was read; Reason says how
	OutcomeUnchanged Outcome = 3 // held by an earlier archive of the set or of its chain
	OutcomeExcluded  Outcome = 4 // by a rule, or a socket; Reason names the rule
	OutcomeVanished  Outcome = 5 // gone before it could be opened
	OutcomeFailed    Outcome = 6 // unreadable, wholly or in part; Reason says why
	OutcomeDeleted   Outcome = 7 // in the baseline, no longer in the source; not a planned entry
)

var outcomeNames = [...]string{
	OutcomeStored: "stored", OutcomeChanged: "changed", OutcomeUnchanged: "unchanged", OutcomeExcluded: "excluded",
	OutcomeVanished: "vanished", OutcomeFailed: "failed", OutcomeDeleted: "deleted",
}

// String is the word that manifests and JSON output use.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) && outcomeNames[o] != "" {
		return outcomeNames[o]
	}
	return "unknown"
}

// ParseOutcome reads the word that String writes; it gives 0 for another.
func ParseOutcome(s string) Outcome {
	for outcome, name := range outcomeNames {
		if name == s && s != "" {
			return Outcome(outcome)
		}
	}
	return 0
}

// Held reports whether the entry can be restored, if only in part: an archive
// holds a header for it.
func (o Outcome) Held() bool {
	return o == OutcomeStored || o == OutcomeChanged || o == OutcomeUnchanged
}

// Hash is a SHA-256 sum.
type Hash [32]byte

// IsZero reports whether no sum is known.
func (h Hash) IsZero() bool { return h == Hash{} }

// Extent is a range of a file, in bytes.
type Extent struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// Xattr is one extended attribute. Name includes its namespace ("user.x");
// Value is raw and may be empty.
type Xattr struct {
	Name  string
	Value []byte
}

// Location says where an archive holds a header and the content after it.
type Location struct {
	Archive ArchiveNumber // 0: nowhere
	Offset  int64         // of the first header block of the entry within the uncompressed tar stream
	Size    int64         // of the stored content in bytes, after the headers and without padding
}

// Part is one piece of a file that is larger than an archive.
type Part struct {
	Location
	Start  int64 // logical offset within the file
	Length int64 // logical bytes, holes included
}

// Entry is one thing in a source, with everything that is kept of it.
//
// The zero value of a field that a source does not know (an owner on Windows,
// an inode in a bucket) is right for it.
type Entry struct {
	// Path is relative and slash-separated, without leading slash, empty, "."
	// or ".." components. Its bytes are the source's own and need not be UTF-8.
	// Its first component is the name under which the source is restored.
	Path    string
	Kind    EntryKind
	Outcome Outcome
	Reason  string // for people; empty when the outcome speaks for itself

	Mode       uint32 // the lower 12 bits of st_mode: permissions, setuid, setgid, sticky
	UID, GID   uint32
	User       string // name of UID where the source's machine knows one
	Group      string
	ModTime    time.Time
	ChangeTime time.Time // ctime; a change key only, never restored
	Dev, Ino   uint64    // identity within the source; change keys and hard link detection
	Links      uint32    // st_nlink

	Size         int64    // logical size in bytes; 0 for what has no content
	Link         string   // symlink: its target as it stands; hardlink: Path of the first name
	Major, Minor uint32   // of devices
	Xattrs       []Xattr  // by name; without the two POSIX ACL attributes
	ACL          string   // access ACL in the text form of acl(5), numeric ids, comma-separated; empty when mode says all
	DefaultACL   string   // default ACL of a directory, same form
	Sparse       bool     // Data lists the content; all else within Size is hole
	Data         []Extent // data ranges of a sparse file, ascending, not adjacent; nil and Sparse: one hole

	// Hash is the SHA-256 of the stored content (of a sparse file: its data ranges
	// one after another; of a split file: all its parts); zero where there is none.
	Hash Hash
	Location
	Parts []Part // of a split file, in order; nil otherwise. Location is then that of the first part

	Host string // absolute path at the source, for messages and reading; neither catalogued nor restored
}

// HasContent reports whether content follows the entry's header.
func (e *Entry) HasContent() bool { return e.Kind == KindFile }

// StoredSize is the number of content bytes that an archive holds for the
// entry: its data ranges where it is sparse, else its size.
func (e *Entry) StoredSize() int64 {
	if e.Kind != KindFile {
		return 0
	}
	if !e.Sparse {
		return e.Size
	}
	var n int64
	for _, x := range e.Data {
		n += x.Length
	}
	return n
}
