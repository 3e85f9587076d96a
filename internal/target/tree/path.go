package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"unicode/utf8"

	"capstan"
)

var (
	errEmptyPath = errors.New("the path is empty")
	errAbsolute  = errors.New("the path is absolute")
	errNUL       = errors.New("the path holds a zero byte")
	errComponent = errors.New(`the path has an empty, "." or ".." component`)
)

// checkPath refuses a path that an Entry may not have, before anything is done
// with it.
func checkPath(path string) error {
	if err := pathProblem(path); err != nil {
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "restore", Object: quote(path), Err: err,
			Safe: "nothing was written for it",
		}
	}
	return nil
}

func pathProblem(path string) error {
	switch {
	case path == "":
		return errEmptyPath
	case path[0] == '/':
		return errAbsolute
	case strings.IndexByte(path, 0) >= 0:
		return errNUL
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." {
			return errComponent
		}
		if err := nameProblem(name); err != nil {
			return err
		}
	}
	return nil
}

// quote makes a path fit for a message: as it is where it can be printed, else
// as a Go string.
func quote(path string) string {
	for i, r := range path {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(path[i:]); size == 1 {
				return strconv.Quote(path)
			}
		}
		if !strconv.IsPrint(r) {
			return strconv.Quote(path)
		}
	}
	if path == "" {
		return `""`
	}
	return path
}

// exists is the failure for a name that is taken.
func exists(path string) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "restore", Object: quote(path), Err: fs.ErrExist,
		Safe: "what is there was left alone",
		Next: "restore into an empty directory, or replace files with --overwrite",
	}
}

// directoryInTheWay is the failure for a directory where something else is to
// be restored.
func directoryInTheWay(path string) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "restore", Object: quote(path),
		Err:  fmt.Errorf("a directory stands in its place (%w)", fs.ErrExist),
		Safe: "the directory was left alone",
		Next: "move it away, or restore elsewhere",
	}
}

// notADirectory is the failure for a path that leads through something that is
// no directory; what names that thing.
func notADirectory(dir, what string) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "restore into", Object: quote(dir),
		Err:  fmt.Errorf("it is %s, and nothing is written through it (%w)", what, fs.ErrExist),
		Safe: "it was left alone",
		Next: "move it away, or restore elsewhere",
	}
}

// kindRefused is the failure for an entry that the called method cannot restore.
func kindRefused(path string, kind capstan.EntryKind) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "restore", Object: quote(path),
		Err: fmt.Errorf("an entry of kind %s cannot be placed", kind),
	}
}

// noSpace is the failure for a full target.
func noSpace(path string, err error) error {
	return &capstan.Error{
		Class: capstan.ErrNoSpace, Op: "restore", Object: quote(path), Err: err,
		Safe: "what was restored so far is whole",
		Next: "make room and restore again with --overwrite",
	}
}
