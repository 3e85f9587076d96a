package files

import (
	"fmt"
	"time"

	"capstan"
)

// stat is what the system tells of an entry.
type stat struct {
	kind         capstan.EntryKind // 0: none that we know
	mode         uint32            // lower 12 bits
	uid, gid     uint32
	mtime, ctime time.Time
	dev, ino     uint64
	links        uint32
	size         int64
	allocated    int64 // bytes on the medium; below size: there may be holes
	major, minor uint32
}

// inode is the identity of a file within one machine; ino 0 means unknown.
type inode struct{ dev, ino uint64 }

func (st *stat) inode() inode { return inode{st.dev, st.ino} }

// linked reports whether it is a file that has other names.
func (st *stat) linked() bool {
	return st.kind == capstan.KindFile && st.links > 1 && st.ino != 0
}

// drift says how now differs from st, in words for people; empty if it does not.
func (st *stat) drift(now *stat) string {
	switch {
	case now.size > st.size:
		return fmt.Sprintf("grew from %d to %d bytes", st.size, now.size)
	case now.size < st.size:
		return fmt.Sprintf("shrank from %d to %d bytes", st.size, now.size)
	case !now.mtime.Equal(st.mtime):
		return "was written while it was read"
	case !now.ctime.Equal(st.ctime):
		return "had its attributes changed while it was read"
	}
	return ""
}

// describe puts what st says into the entry.
func (rd *reader) describe(e *capstan.Entry, st *stat) {
	e.Kind, e.Mode = st.kind, st.mode
	e.UID, e.GID = st.uid, st.gid
	e.User, e.Group = rd.names.user(st.uid), rd.names.group(st.gid)
	e.ModTime, e.ChangeTime = st.mtime, st.ctime
	e.Dev, e.Ino, e.Links = st.dev, st.ino, st.links
	e.Size, e.Major, e.Minor = 0, 0, 0
	switch st.kind {
	case capstan.KindFile:
		e.Size = st.size
	case capstan.KindCharDevice, capstan.KindBlkDevice:
		e.Major, e.Minor = st.major, st.minor
	case capstan.KindDir, capstan.KindSymlink, capstan.KindHardlink, capstan.KindFifo, capstan.KindSocket:
	}
}

// unchanged reports whether what st says is what the baseline's entry held.
func unchanged(st *stat, held *capstan.Entry) bool {
	if held == nil || held.Outcome == capstan.OutcomeChanged {
		return false // what changed while it was read was never held as it was
	}
	switch held.Kind {
	case capstan.KindHardlink:
		if !st.linked() {
			return false
		}
	case capstan.KindFile:
		if st.kind != capstan.KindFile || st.size != held.Size {
			return false
		}
	case capstan.KindCharDevice, capstan.KindBlkDevice:
		if st.kind != held.Kind || st.major != held.Major || st.minor != held.Minor {
			return false
		}
	case capstan.KindDir, capstan.KindSymlink, capstan.KindFifo, capstan.KindSocket:
		if st.kind != held.Kind {
			return false
		}
	default:
		return false
	}
	return st.mode == held.Mode && st.uid == held.UID && st.gid == held.GID && st.ino == held.Ino &&
		st.mtime.Equal(held.ModTime) && st.ctime.Equal(held.ChangeTime)
}
