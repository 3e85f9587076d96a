package capstan

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// SetID names a set: the month of its start and a number that runs within the
// month, "2026-11_000001". Text order is the order of creation.
type SetID string

// JobKey identifies a job in one catalog: the name of a configured job, or for
// an ad hoc run "adhoc-" and a hash of its canonical sources and volumes.
type JobKey string

// RunID numbers the runs of one catalog, from 1.
type RunID int64

// VolumeID is the UUID that a volume carries in its own marker, lower case.
type VolumeID string

// ArchiveNumber counts the archives of a set, from 1.
type ArchiveNumber int

var (
	setIDPattern       = regexp.MustCompile(`^(\d{4})-(0[1-9]|1[0-2])_(\d{6}|[1-9]\d{6,8})$`)
	archiveNamePattern = regexp.MustCompile(`^backup_(\d{4}-\d{2}_\d{6,9})_(\d{4}|[1-9]\d{4,8})\.(tar|tar\.gz|tar\.zst)(\.age)?$`)
)

// NewSetID gives the id of the number-th set of the month of t, in t's zone.
func NewSetID(t time.Time, number int) SetID {
	return SetID(fmt.Sprintf("%04d-%02d_%06d", t.Year(), int(t.Month()), number))
}

// ParseSetID checks the form of an id; it does not look whether the set exists.
func ParseSetID(s string) (SetID, error) {
	if !setIDPattern.MatchString(s) {
		return "", fmt.Errorf("%q is no set id (a set id looks like 2026-11_000001)", s)
	}
	return SetID(s), nil
}

// Month is the part of the id before the number, "2026-11"; empty for an id
// that ParseSetID refuses.
func (id SetID) Month() string {
	if match := setIDPattern.FindStringSubmatch(string(id)); match != nil {
		return match[1] + "-" + match[2]
	}
	return ""
}

// Number is the running number within the month; 0 for a malformed id.
func (id SetID) Number() int {
	match := setIDPattern.FindStringSubmatch(string(id))
	if match == nil {
		return 0
	}
	number, _ := strconv.Atoi(match[3])
	return number
}

// ArchiveName is the file name of an archive that is not encrypted, for example
// "backup_2026-11_000001_0001.tar.zst"; Set.ArchiveName is that of any.
func ArchiveName(set SetID, number ArchiveNumber, codec Codec) string {
	return fmt.Sprintf("backup_%s_%04d%s", set, number, codec.Suffix())
}

// ParseArchiveName takes an archive's file name apart. ok is false for any
// other name, so a directory can be listed with it.
func ParseArchiveName(name string) (set SetID, number ArchiveNumber, codec Codec, ok bool) {
	match := archiveNamePattern.FindStringSubmatch(name)
	if match == nil {
		return "", 0, "", false
	}
	set, err := ParseSetID(match[1])
	if err != nil {
		return "", 0, "", false
	}
	n, err := strconv.Atoi(match[2])
	if err != nil {
		return "", 0, "", false
	}
	for _, c := range []Codec{CodecZstd, CodecGzip, CodecNone} {
		if "."+match[3] == c.Suffix() {
			codec = c
		}
	}
	return set, ArchiveNumber(n), codec, true
}
