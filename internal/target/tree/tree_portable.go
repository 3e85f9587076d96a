//go:build !linux

package tree

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"capstan"
)

// Tree is a directory that is being restored into. On this system it keeps
// content, names, permissions, times, symlinks and hard links.
type Tree struct {
	options  Options
	root     *os.Root
	notes    notes
	buffers  buffers
	tempBase string
	temps    atomic.Uint64
}

var errNoTarget = errors.New("the symlink has no target")

// Open makes dir, and what is missing above it, unless it is there. It fails
// with capstan.ErrRefused if dir is no directory.
func Open(dir string, o Options) (*Tree, error) {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, &capstan.Error{
			Class: capstan.ErrRefused, Op: "open restore target", Object: quote(dir),
			Err: errors.New("it is no directory"), Next: "name a directory",
		}
	}
	err := os.MkdirAll(dir, 0o777)
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(dir)
	}
	if err != nil {
		return nil, &capstan.Error{Op: "open restore target", Object: quote(dir), Err: err}
	}
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails, says crypto/rand
	t := &Tree{options: o, root: root, tempBase: ".capstan-" + hex.EncodeToString(random) + "-"}
	return t, nil
}

// Dir makes a directory and whatever is missing above it. An existing one is
// kept. Something else in its place is an error, unless Overwrite replaces it.
func (t *Tree) Dir(ctx context.Context, path string) error {
	if err := t.parent(ctx, path); err != nil {
		return err
	}
	local := filepath.FromSlash(path)
	err := t.root.Mkdir(local, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return failure(path, err)
	}
	info, err := t.root.Lstat(local)
	switch {
	case err != nil:
		return failure(path, err)
	case info.IsDir():
		return nil
	case !t.options.Overwrite:
		return exists(path)
	}
	return failure(path, errors.Join(t.root.Remove(local), t.root.Mkdir(local, 0o700)))
}

// Place restores a file or a symlink with what this system keeps of it; devices
// and fifos are left out with a note, or are capstan.ErrIncomplete unless
// NoSpecial is set. See the package documentation for what holds after an error.
func (t *Tree) Place(ctx context.Context, path string, e *capstan.Entry, content io.Reader) error {
	if err := t.parent(ctx, path); err != nil {
		return err
	}
	switch e.Kind {
	case capstan.KindFile:
		if content == nil {
			return failure(path, errNoContent)
		}
		return t.placeFile(ctx, path, e, content)
	case capstan.KindSymlink:
		if e.Link == "" {
			return failure(path, fmt.Errorf("%w: %w", errNoTarget, capstan.ErrDamaged))
		}
		return t.publish(path, func(temp string) error { return t.root.Symlink(e.Link, temp) })
	case capstan.KindCharDevice, capstan.KindBlkDevice, capstan.KindFifo:
		if t.options.NoSpecial {
			t.notes.add(path, "devices and fifos left out as asked")
			return nil
		}
		return &capstan.Error{
			Class: capstan.ErrIncomplete, Op: "restore " + e.Kind.String(), Object: quote(path), Err: errors.ErrUnsupported,
			Next: "leave special files out with --no-special",
		}
	case capstan.KindDir, capstan.KindHardlink, capstan.KindSocket:
	}
	return kindRefused(path, e.Kind)
}

func (t *Tree) placeFile(ctx context.Context, path string, e *capstan.Entry, content io.Reader) error {
	plan, err := newLayout(e)
	if err != nil {
		return failure(path, err)
	}
	buf := t.buffers.get()
	defer t.buffers.put(buf)
	n, done, err := fill(content, buf[:])
	if err != nil {
		return failure(path, err)
	}
	return t.publish(path, func(temp string) error {
		f, err := t.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		if err = plan.copyRest(ctx, f, content, buf[:], n, done); err == nil {
			err = t.describe(f, path, e)
		}
		if err = errors.Join(err, f.Close()); err == nil && !e.ModTime.IsZero() {
			err = t.root.Chtimes(temp, time.Time{}, e.ModTime)
		}
		return err
	})
}

// publish has something made under a temporary name and renames it.
func (t *Tree) publish(path string, make func(temp string) error) error {
	dir, _ := capstan.SplitPath(path)
	local := filepath.FromSlash(path)
	temp := filepath.Join(filepath.FromSlash(dir), t.tempBase+strconv.FormatUint(t.temps.Add(1), 36))
	if err := t.expectFree(local, path); err != nil {
		return err
	}
	err := make(temp)
	if err == nil {
		if err = t.expectFree(local, path); err == nil {
			err = t.root.Rename(temp, local)
		}
	}
	if err != nil {
		if removeErr := t.root.Remove(temp); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	return failure(path, err)
}

// expectFree fails if the name is taken by something that may not be replaced.
func (t *Tree) expectFree(local, path string) error {
	info, err := t.root.Lstat(local)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return failure(path, err)
	case info.IsDir():
		return directoryInTheWay(path)
	case !t.options.Overwrite:
		return exists(path)
	}
	return nil
}

// describe gives an open file or directory its permissions; without its owner
// it gets neither setuid nor setgid.
func (t *Tree) describe(f *os.File, path string, e *capstan.Entry) error {
	if len(e.Xattrs) > 0 || e.ACL != "" || e.DefaultACL != "" {
		t.notes.add(path, "xattrs and ACLs not restored on this system")
	}
	if err := f.Chmod(fs.FileMode(e.Mode & 0o777)); err != nil {
		t.notes.add(path, "permissions not restored: the target does not allow it")
	}
	return nil
}

// Link gives what was restored as to the further name path.
func (t *Tree) Link(ctx context.Context, path, to string) error {
	if err := checkPath(to); err != nil {
		return err
	}
	if err := t.parent(ctx, path); err != nil {
		return err
	}
	if err := t.checkParents(to, false); err != nil {
		return err
	}
	source, target := filepath.FromSlash(to), filepath.FromSlash(path)
	was, err := t.root.Lstat(source)
	if err != nil {
		return &capstan.Error{Class: capstan.ErrNotFound, Op: "restore", Object: quote(path), Err: err}
	}
	if is, err := t.root.Lstat(target); err == nil && t.options.Overwrite && os.SameFile(was, is) {
		return nil
	}
	return t.publish(path, func(temp string) error {
		if err := t.root.Link(source, temp); err != nil {
			return fmt.Errorf("%w: %w", ErrCannotLink, err)
		}
		return nil
	})
}

// FinishDir gives a directory its permissions and times.
func (t *Tree) FinishDir(ctx context.Context, path string, e *capstan.Entry) error {
	if err := t.parent(ctx, path); err != nil {
		return err
	}
	local := filepath.FromSlash(path)
	if info, err := t.root.Lstat(local); err != nil {
		return failure(path, err)
	} else if !info.IsDir() {
		return notADirectory(path, "no directory")
	}
	f, err := t.root.Open(local)
	if err != nil {
		return failure(path, err)
	}
	if !e.ModTime.IsZero() {
		err = t.root.Chtimes(local, time.Time{}, e.ModTime)
	}
	return failure(path, errors.Join(err, t.describe(f, path, e), f.Close()))
}

// Notes gives what the target could not keep, each with the number of entries
// and the first of them. It may be called at any time.
func (t *Tree) Notes() []string { return t.notes.lines() }

// Sync does nothing on this system, which has no call for it.
func (t *Tree) Sync(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Close ends the use of the target. Nothing that was restored depends on it.
func (t *Tree) Close() error { return t.root.Close() }

// parent checks a path and makes the directories above it.
func (t *Tree) parent(ctx context.Context, path string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := checkPath(path); err != nil {
		return err
	}
	return t.checkParents(path, true)
}

// checkParents sees that everything above path is a directory and not a
// symlink. os.Root warrants that what changes meanwhile leads nowhere outside.
func (t *Tree) checkParents(path string, create bool) error {
	for i := range len(path) {
		if path[i] != '/' {
			continue
		}
		local := filepath.FromSlash(path[:i])
		info, err := t.root.Lstat(local)
		if errors.Is(err, fs.ErrNotExist) && create {
			if err = t.root.Mkdir(local, 0o777); err == nil || errors.Is(err, fs.ErrExist) {
				info, err = t.root.Lstat(local)
			}
		}
		if err != nil {
			return failure(path[:i], err)
		}
		if !info.IsDir() {
			return notADirectory(path[:i], "no directory")
		}
	}
	return nil
}

// failure names the path and gives the class of an error of the target. An
// error that already is told to people stays as it is, and nil stays nil.
func failure(path string, err error) error {
	var told *capstan.Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	if diskFull(err) {
		return noSpace(path, err)
	}
	return &capstan.Error{Op: "restore", Object: quote(path), Err: err}
}
