package files

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"capstan"
)

const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
	// smallAttr is tried first: the kernel allocates, and for values clears, as
	// much as it is offered. maxAttr is its limit on the list of names and on a
	// value (include/uapi/linux/limits.h).
	smallAttr = 512
	maxAttr   = 64 << 10
)

// attrReader reads extended attributes; it serves one goroutine.
type attrReader struct {
	names, value []byte
}

// attrTarget is what attributes are read from: an open file or directory, or,
// where path is set, what must not be opened.
type attrTarget struct {
	fd   int
	path string
}

// attributesOf gives the target for something in f that is neither a file nor a
// directory. The kernel's view of the open directory makes it a path of few
// bytes, whatever the length of the real one.
func (f *folder) attributesOf(name string) attrTarget {
	return attrTarget{path: "/proc/self/fd/" + strconv.Itoa(f.fd) + "/" + name}
}

func (f *folder) attributes() attrTarget { return attrTarget{fd: f.fd} }

func (f file) attributes() attrTarget { return attrTarget{fd: f.fd} }

func (t attrTarget) list(buf []byte) (int, error) {
	if t.path != "" {
		return unix.Llistxattr(t.path, buf)
	}
	return unix.Flistxattr(t.fd, buf)
}

func (t attrTarget) get(name string, buf []byte) (int, error) {
	if t.path != "" {
		return unix.Lgetxattr(t.path, name, buf)
	}
	return unix.Fgetxattr(t.fd, name, buf)
}

// read puts the attributes and ACLs of the target into the entry. What cannot
// be read is left out and said in the entry's reason.
func (a *attrReader) read(t attrTarget, e *capstan.Entry) {
	e.Xattrs, e.ACL, e.DefaultACL = nil, "", ""
	list, err := fetch(&a.names, t.list)
	if err != nil {
		// Without /proc, and for what has just vanished, there is nothing to say.
		if !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.ENOENT) {
			e.Reason = "extended attributes not kept: " + err.Error()
		}
		return
	}
	for len(list) > 0 {
		var name []byte
		name, list, _ = bytes.Cut(list, []byte{0})
		if err := a.readOne(t, string(name), e); err != nil {
			e.Reason = "extended attribute " + string(name) + " not kept: " + err.Error()
		}
	}
	slices.SortFunc(e.Xattrs, func(x, y capstan.Xattr) int { return cmp.Compare(x.Name, y.Name) })
}

func (a *attrReader) readOne(t attrTarget, name string, e *capstan.Entry) error {
	value, err := fetch(&a.value, func(buf []byte) (int, error) { return t.get(name, buf) })
	if errors.Is(err, unix.ENODATA) {
		return nil // removed since it was listed
	}
	if err != nil {
		return err
	}
	switch name {
	case accessACL:
		text, minimal, err := parseACL(value)
		if !minimal {
			e.ACL = text
		}
		return err
	case defaultACL:
		text, _, err := parseACL(value)
		e.DefaultACL = text
		return err
	}
	e.Xattrs = append(e.Xattrs, capstan.Xattr{Name: name, Value: bytes.Clone(value)})
	return nil
}

// fetch calls into a buffer that it enlarges as the call asks for; what it
// gives lies in the buffer.
func fetch(buf *[]byte, call func([]byte) (int, error)) ([]byte, error) {
	if *buf == nil {
		*buf = make([]byte, maxAttr)
	}
	size := smallAttr
	for {
		n, err := call((*buf)[:size])
		switch {
		case err == nil:
			return (*buf)[:n], nil
		case errors.Is(err, unix.ERANGE) && size < maxAttr:
			size = maxAttr
		case !errors.Is(err, unix.EINTR):
			return nil, err
		}
	}
}
