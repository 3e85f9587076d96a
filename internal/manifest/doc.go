// Package manifest writes and reads what stands in a set's directory beside the
// archives: the manifest, SHA256SUMS and its signature, the list of deleted
// paths, and RESTORE.txt. docs/format-set.md specifies each of them.
//
// # Use
//
// After the last archive: Write, or NewWriter, Add and Close; a DeletedWriter
// where paths were deleted; Guide.Write; WriteSums over all of these files;
// Key.Sign over the sums, last. A set without a valid SHA256SUMS was not
// finished.
//
// Everything that is read comes from a medium that may be damaged or foreign:
// an error that wraps capstan.ErrDamaged says that the bytes are wrong; any
// other is a failure to get them. No input makes these readers take unbounded
// memory, panic, or give a path that leads out of a directory.
//
// # Blocking
//
// Functions block as their readers and writers do, and start no goroutines.
package manifest

// The names of the files in a set's directory.
const (
	Name          = "manifest.json.zst"
	SumsName      = "SHA256SUMS"
	SignatureName = "SHA256SUMS.sig"
	DeletedName   = "DELETED"
	GuideName     = "RESTORE.txt"
	CatalogName   = "catalog.sqlite" // a copy of the catalog without entries
)

// Format is the version of the manifest that this package writes, and the
// newest that it reads.
const Format = 1
