package tree

import (
	"context"
	"io"

	"capstan"
)

// Place restores a file, a symlink, a device or a fifo with everything that is
// kept of it, and makes the directories above it that are missing. Of a file,
// content gives the stored bytes to their end (see Entry.StoredSize; split
// files as one), also when there are none; it is nil for anything else.
// Content that is an io.WriterTo writes itself where files can be made without a name.
//
// Nothing is left under the entry's name unless it is whole: after an error,
// of content (which it wraps) or of the target, what was there before still is.
// A full target is capstan.ErrNoSpace; content that is shorter or longer than
// the entry says is capstan.ErrDamaged; a device that this process may not make
// is capstan.ErrIncomplete.
func (t *Tree) Place(ctx context.Context, path string, e *capstan.Entry, content io.Reader) error {
	switch e.Kind {
	case capstan.KindFile:
		if content == nil {
			return failure(path, errNoContent)
		}
	case capstan.KindCharDevice, capstan.KindBlkDevice, capstan.KindFifo:
		if t.options.NoSpecial {
			t.notes.add(path, "devices and fifos left out as asked")
			return nil
		}
	case capstan.KindSymlink:
	case capstan.KindDir, capstan.KindHardlink, capstan.KindSocket:
		return kindRefused(path, e.Kind)
	default:
		return kindRefused(path, e.Kind)
	}
	parent, name, err := t.parent(ctx, path)
	if err != nil {
		return err
	}
	defer t.dirs.release(parent)
	if e.Kind == capstan.KindFile {
		return t.placeFile(ctx, parent, name, path, e, content)
	}
	return t.placeNode(parent, name, path, e)
}
