package pgserver

import (
	"io/fs"
	"syscall"
	"time"
)

// changeTime is when a file's inode was last changed, by a rename for example.
func changeTime(info fs.FileInfo) time.Time {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.ModTime()
	}
	return time.Unix(stat.Ctim.Unix())
}
