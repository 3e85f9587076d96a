package tree

import "errors"

// Options say how entries are restored. The zero value keeps what is there and
// restores everything that the process may restore.
type Options struct {
	// Overwrite replaces existing files, symlinks and special files. An existing
	// directory is never replaced by anything else. Without it, an existing name
	// is an error (fs.ErrExist, capstan.ErrRefused).
	Overwrite bool
	// NoSpecial leaves out devices and fifos.
	NoSpecial bool
	// Owners says whether owner and group are restored: nil when running as root
	// and as far as that is permitted, true or it is an error, false never. Ids are
	// restored as numbers.
	Owners *bool
}

// ErrCannotLink reports that the target cannot hold a hard link here: its
// filesystem has none, the file has as many as it may, or the two places are on
// different filesystems. Place the content once more instead.
var ErrCannotLink = errors.New("the target cannot hold this hard link")
