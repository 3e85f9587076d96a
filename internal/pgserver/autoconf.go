package pgserver

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"capstan/internal/disk"
	"capstan/internal/pg"
)

// autoConf is the file that ALTER SYSTEM writes. It is read after all others, so
// that a line here replaces theirs; only options of the command line are stronger.
const autoConf = "postgresql.auto.conf"

// autoConfLimit is more than the file is ever long, in bytes.
const autoConfLimit = 16 << 20

// noArchive is the line that pauses archiving.
const noArchive = "archive_command = ''"

// archiveLine finds the line of archive_command that counts, the last one; -1 if
// there is none.
func archiveLine(lines []string) int {
	for i, line := range slices.Backward(lines) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		name, _, _ = strings.Cut(strings.TrimSpace(name), " ") // the sign may be left out
		if strings.EqualFold(name, "archive_command") {
			return i
		}
	}
	return -1
}

// emptied gives the file with archive_command emptied, and the line that was there.
// A server reads a line only if it ends; what comes after the last end is completed.
func emptied(text string) (changed, line string) {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	lines := strings.SplitAfter(text, "\n")
	i := archiveLine(lines)
	if i < 0 {
		return text + noArchive + "\n", ""
	}
	line = strings.TrimSuffix(lines[i], "\n")
	lines[i] = noArchive + "\n"
	return strings.Join(lines, ""), line
}

// putBack undoes emptied. When archive_command is not empty, somebody has set it
// since: that stays.
func putBack(text, line string) string {
	lines := strings.SplitAfter(text, "\n")
	i := archiveLine(lines)
	if i < 0 || strings.TrimSuffix(lines[i], "\n") != noArchive {
		return text
	}
	lines[i] = ""
	if line != "" {
		lines[i] = line + "\n"
	}
	return strings.Join(lines, "")
}

// rewriteAutoConf replaces postgresql.auto.conf durably by what change makes of it,
// and leaves it with the cluster's owner.
func rewriteAutoConf(fsys disk.FS, cluster *pg.Cluster, change func(text string) string) error {
	path := filepath.Join(cluster.Dir, autoConf)
	data, err := fsys.ReadFile(path, autoConfLimit)
	if err != nil {
		return err
	}
	changed := change(string(data))
	if changed == string(data) {
		return nil
	}
	temporary := path + ".capstan"
	_ = fsys.Remove(temporary) // of a call that was killed
	file, err := fsys.Create(temporary)
	if err != nil {
		return err
	}
	_, err = file.Write([]byte(changed))
	err = errors.Join(err, file.Own(cluster.Owner.UID, cluster.Owner.GID))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = fsys.Rename(temporary, path)
	}
	if err != nil {
		_ = fsys.Remove(temporary)
		return fmt.Errorf("change %s: %w", path, err)
	}
	return fsys.SyncDir(cluster.Dir)
}
