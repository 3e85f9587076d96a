package files

import (
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fromSystem adds what the system tells beyond package os.
func (st *stat) fromSystem(info fs.FileInfo) {
	raw, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	st.uid, st.gid = raw.Uid, raw.Gid
	st.ctime = time.Unix(raw.Ctimespec.Unix())
	st.dev, st.ino, st.links = uint64(raw.Dev), raw.Ino, uint32(raw.Nlink)
	st.major, st.minor = unix.Major(uint64(raw.Rdev)), unix.Minor(uint64(raw.Rdev))
}
