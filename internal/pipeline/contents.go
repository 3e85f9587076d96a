package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"capstan"
	"capstan/internal/progress"
)

// Cat writes the content of one file of a set, holes as zeros, and checks it
// against its hash. A name that is a hard link gives the file's content.
func (e *Engine) Cat(ctx context.Context, set capstan.SetID, path string, out io.Writer) (err error) {
	stage := e.Tracker.Stage(stageCat)
	stage.Begin()
	defer stage.End()
	out = handedOut{out, stage}
	view, err := e.View(ctx, set)
	if err != nil {
		return err
	}
	entry, err := view.file(ctx, path)
	if err != nil {
		return err
	}
	reader := e.newSetReader(entry.Set)
	defer func() { err = errors.Join(err, reader.close()) }()
	content := reader.content(ctx, &entry.Entry)
	if !entry.Sparse {
		_, err = io.Copy(out, content)
		return errors.Join(err, content.Close())
	}
	return errors.Join(copySparse(out, content, &entry.Entry), content.Close())
}

// forReader is what is waited for where nobody takes what was asked for.
const forReader progress.Resource = "reader"

// handedOut is where content goes: the stage moves by it, and waits for its reader.
type handedOut struct {
	to    io.Writer
	stage *progress.Stage
}

func (h handedOut) Write(b []byte) (int, error) {
	done := h.stage.Wait(forReader, "")
	n, err := h.to.Write(b)
	done()
	h.stage.Moved(capstan.Bytes(n), 0)
	return n, err
}

// file finds the entry that holds the content of a path.
func (v *View) file(ctx context.Context, path string) (Held, error) {
	set := v.Set().ID
	for range 2 {
		entry, found, err := v.Entry(ctx, path)
		switch {
		case err != nil:
			return entry, err
		case !found || !entry.Outcome.Held():
			return entry, &capstan.Error{
				Class: capstan.ErrNotFound, Op: "cat", Object: path,
				Err: fmt.Errorf("set %s does not hold it", set), Next: fmt.Sprintf("see: capstan ls %s", set),
			}
		case entry.Kind == capstan.KindFile:
			return entry, nil
		case entry.Kind != capstan.KindHardlink:
			return entry, &capstan.Error{Class: capstan.ErrUsage, Op: "cat", Object: path, Err: fmt.Errorf("is a %s and has no content", entry.Kind)}
		}
		path = entry.Link
	}
	return Held{}, fmt.Errorf("%s: a link to a link: %w", path, capstan.ErrDamaged)
}

// copySparse writes data ranges from content and zeros between them.
func copySparse(out io.Writer, content io.Reader, entry *capstan.Entry) error {
	var at int64
	for _, extent := range entry.Data {
		if err := writeZeros(out, extent.Offset-at); err != nil {
			return err
		}
		if _, err := io.CopyN(out, content, extent.Length); err != nil {
			return err
		}
		at = extent.Offset + extent.Length
	}
	if err := writeZeros(out, entry.Size-at); err != nil {
		return err
	}
	// The end of the content is where its hash is checked.
	_, err := io.Copy(io.Discard, content)
	return err
}

func writeZeros(out io.Writer, n int64) error {
	zeros := make([]byte, min(n, int64(64*capstan.KiB)))
	for n > 0 {
		written, err := out.Write(zeros[:min(n, int64(len(zeros)))])
		if err != nil {
			return err
		}
		n -= int64(written)
	}
	return nil
}

// Change is one difference between two sets.
type Change struct {
	Sign  byte // '+' only in the newer, '-' only in the older, 'M' content or kind, 'U' attributes only
	Entry capstan.Entry
}

// Diff yields the differences from set a to set b, in path order, in bounded memory.
func (e *Engine) Diff(ctx context.Context, a, b capstan.SetID) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		older, stopOlder := iter.Pull2(e.held(ctx, a))
		defer stopOlder()
		newer, stopNewer := iter.Pull2(e.held(ctx, b))
		defer stopNewer()
		x, xErr, xOK := older()
		y, yErr, yOK := newer()
		for xOK || yOK {
			if err := errors.Join(xErr, yErr); err != nil {
				yield(Change{}, err)
				return
			}
			order := 0
			switch {
			case !xOK:
				order = 1
			case !yOK:
				order = -1
			default:
				order = capstan.ComparePaths(x.Path, y.Path)
			}
			change := Change{Sign: '+', Entry: y}
			switch {
			case order < 0:
				change = Change{Sign: '-', Entry: x}
			case order == 0:
				change.Sign = compareEntries(&x, &y)
			}
			if change.Sign != 0 && !yield(change, nil) {
				return
			}
			if order <= 0 {
				x, xErr, xOK = older()
			}
			if order >= 0 {
				y, yErr, yOK = newer()
			}
		}
	}
}

func (e *Engine) held(ctx context.Context, set capstan.SetID) iter.Seq2[capstan.Entry, error] {
	return func(yield func(capstan.Entry, error) bool) {
		view, err := e.View(ctx, set)
		if err != nil {
			yield(capstan.Entry{}, err)
			return
		}
		for entry, err := range view.Walk(ctx, "") {
			if err != nil || entry.Outcome.Held() {
				if !yield(entry.Entry, err) || err != nil {
					return
				}
			}
		}
	}
}

// compareEntries gives the sign of a change, or 0 for none.
func compareEntries(a, b *capstan.Entry) byte {
	switch {
	case a.Kind != b.Kind || a.Size != b.Size || a.Hash != b.Hash || a.Link != b.Link || a.Major != b.Major || a.Minor != b.Minor:
		return 'M'
	case a.Mode != b.Mode || a.UID != b.UID || a.GID != b.GID || a.ACL != b.ACL || a.DefaultACL != b.DefaultACL || !sameXattrs(a, b):
		return 'U'
	case !a.ModTime.Equal(b.ModTime):
		return 'U'
	}
	return 0
}

func sameXattrs(a, b *capstan.Entry) bool {
	if len(a.Xattrs) != len(b.Xattrs) {
		return false
	}
	for i := range a.Xattrs {
		if a.Xattrs[i].Name != b.Xattrs[i].Name || string(a.Xattrs[i].Value) != string(b.Xattrs[i].Value) {
			return false
		}
	}
	return true
}
