package tree

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"capstan"
)

const (
	xattrACL        = "system.posix_acl_access"
	xattrDefaultACL = "system.posix_acl_default"
)

func (in inode) setxattr(name string, value []byte) error {
	return retry(func() error {
		if in.opaque {
			return unix.Setxattr(procPath(in.fd), name, value, 0)
		}
		return unix.Fsetxattr(in.fd, name, value, 0)
	})
}

// removexattr succeeds also when there is no such attribute or none at all.
func (in inode) removexattr(name string) error {
	err := retry(func() error {
		if in.opaque {
			return unix.Removexattr(procPath(in.fd), name)
		}
		return unix.Fremovexattr(in.fd, name)
	})
	if errors.Is(err, unix.ENODATA) || unsupported(err) {
		return nil
	}
	return err
}

// setXattrs restores the extended attributes. One that the target or the
// process cannot have is a note, not a failure.
func (t *Tree) setXattrs(in inode, path string, e *capstan.Entry) error {
	for _, x := range e.Xattrs {
		if isACL(x.Name) {
			continue // ACLs come as text, and are checked
		}
		err := in.setxattr(x.Name, x.Value)
		if err == nil {
			continue
		}
		text := "xattr " + quote(x.Name)
		switch {
		case unsupported(err) || errors.Is(err, unix.ENOENT) && in.opaque:
			text += " not restored: not supported by the target"
		case notPermitted(err):
			text += " not restored: not permitted"
		case errors.Is(err, unix.E2BIG), errors.Is(err, unix.ERANGE), errors.Is(err, unix.EINVAL),
			errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.ENOSPC) && !full(in.fd):
			text += " not restored: larger than the target can hold, or of a form that it does not know"
		default:
			return fmt.Errorf("set xattr %s: %w", quote(x.Name), err)
		}
		t.notes.add(path, text)
	}
	return nil
}

// full tells a full filesystem from an inode that has no room for one more
// attribute: both are ENOSPC.
func full(fd int) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return true
	}
	return st.Bavail < 16 || st.Files > 0 && st.Ffree == 0
}

// setACLs restores the ACLs. allowed are the mode bits that may be set: where
// the access ACL could not be, the group gets no more than it gave to it.
func (t *Tree) setACLs(in inode, path string, e *capstan.Entry) (allowed uint32, err error) {
	allowed = 0o7777
	if e.ACL != "" {
		list, set, err := t.setACL(in, xattrACL, e.ACL, path)
		if err != nil {
			return 0, err
		}
		if !set {
			allowed = 0o7707 | list.owningGroup()<<3
		}
	}
	if e.DefaultACL != "" && e.Kind == capstan.KindDir {
		if _, _, err := t.setACL(in, xattrDefaultACL, e.DefaultACL, path); err != nil {
			return 0, err
		}
	}
	return allowed, nil
}

func (t *Tree) setACL(in inode, name, text, path string) (list acl, set bool, err error) {
	list, err = parseACL(text)
	if err != nil {
		t.notes.add(path, fmt.Sprintf("ACL not restored: %v", err))
		return nil, false, nil
	}
	err = in.setxattr(name, list.encode())
	switch {
	case err == nil:
		return list, true, nil
	case unsupported(err), errors.Is(err, unix.ENOENT) && in.opaque:
		t.notes.add(path, "ACLs not restored: not supported by the target")
	case notPermitted(err):
		t.notes.add(path, "ACLs not restored: not permitted")
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ENOSPC) && !full(in.fd):
		t.notes.add(path, "ACLs not restored: not accepted by the target")
	default:
		return list, false, fmt.Errorf("set ACL: %w", err)
	}
	return list, false, nil
}

// dropACLs removes an ACL that a new inode got from the default ACL of its
// directory, unless it will be replaced anyway, and sees what mode that leaves.
func (t *Tree) dropACLs(in inode, st *unix.Stat_t, e *capstan.Entry) error {
	if e.ACL != "" {
		return nil
	}
	if err := in.removexattr(xattrACL); err != nil {
		return fmt.Errorf("remove the inherited ACL: %w", err)
	}
	return unix.Fstat(in.fd, st)
}

// dropOthers removes from a directory the attributes that its entry does not
// have. What belongs to the security of this system is left.
func (t *Tree) dropOthers(in inode, st *unix.Stat_t, e *capstan.Entry) error {
	names, err := listXattrs(in.fd)
	if len(names) == 0 || err != nil {
		return err
	}
	for _, name := range names {
		var keep bool
		switch {
		case name == xattrACL:
			keep = e.ACL != ""
		case name == xattrDefaultACL:
			keep = e.DefaultACL != ""
		case strings.HasPrefix(name, "user."), strings.HasPrefix(name, "trusted."):
			for _, x := range e.Xattrs {
				keep = keep || x.Name == name
			}
		default:
			keep = true
		}
		if keep {
			continue
		}
		if err := in.removexattr(name); err != nil && !notPermitted(err) {
			return fmt.Errorf("remove xattr %s: %w", quote(name), err)
		}
	}
	return unix.Fstat(in.fd, st)
}

// listXattrs names the attributes of an open directory; none where they are
// not supported.
func listXattrs(fd int) ([]string, error) {
	var small [512]byte
	buf := small[:]
	for {
		n, err := unix.Flistxattr(fd, buf)
		switch {
		case errors.Is(err, unix.ERANGE):
			buf = make([]byte, 64<<10) // XATTR_LIST_MAX
			continue
		case unsupported(err):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("list xattrs: %w", err)
		}
		var names []string
		for name := range bytes.SplitSeq(bytes.TrimSuffix(buf[:n], []byte{0}), []byte{0}) {
			if len(name) > 0 {
				names = append(names, string(name))
			}
		}
		return names, nil
	}
}
