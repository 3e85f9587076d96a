package pgserver

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"capstan/internal/pg"
)

// ArchiveBacklog is what the archiver has to do.
type ArchiveBacklog struct {
	Ready          int64   `json:"ready"`            // WAL files that wait
	SecondsPerFile float64 `json:"seconds_per_file"` // measured; 0: nothing was archived lately
	Failing        bool    `json:"failing"`
}

// recent is how many of the last archived files are measured.
const recent = 32

// archived is one archived file: its mark is renamed from .ready to .done then.
type archived struct {
	name        string
	ready, done time.Time
}

// archiveBacklog counts the files that wait, and measures how long the last ones
// took: the mark of an archived file was written when the file was ready and
// renamed when it was archived, so that its two times, and the end of the file
// before it, tell how long the archiver worked on it.
func archiveBacklog(ctx context.Context, cluster *pg.Cluster) (ArchiveBacklog, error) {
	var backlog ArchiveBacklog
	var last []string // names, the highest
	dir := filepath.Join(cluster.Dir, "pg_wal", "archive_status")
	err := eachName(ctx, dir, func(name string, _ bool) {
		if strings.HasSuffix(name, ".ready") {
			backlog.Ready++
		}
		if !strings.HasSuffix(name, ".done") {
			return
		}
		if last = append(last, name); len(last) >= 2*recent {
			slices.Sort(last)
			last = append(last[:0], last[len(last)-recent:]...)
		}
	})
	if err != nil {
		return backlog, err
	}
	slices.Sort(last)
	last = last[max(len(last)-recent, 0):]
	var files []archived
	for _, name := range last {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil { // a checkpoint may have removed it
			files = append(files, archived{name, info.ModTime(), changeTime(info)})
		}
	}
	backlog.SecondsPerFile = secondsPerFile(files)
	return backlog, nil
}

// secondsPerFile is the median of what the files took.
func secondsPerFile(files []archived) float64 {
	slices.SortFunc(files, func(a, b archived) int { return a.done.Compare(b.done) })
	var took []float64
	for i, file := range files {
		began := file.ready
		if i > 0 && files[i-1].done.After(began) {
			began = files[i-1].done // it waited for the one before
		}
		if d := file.done.Sub(began).Seconds(); d > 0 {
			took = append(took, d)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// countFiles counts the files of the data directory, whose number decides how long
// a start syncs, and the spill files of each slot. It holds no names.
func countFiles(ctx context.Context, cluster *pg.Cluster) (total int64, spill map[string]int64, err error) {
	spill = map[string]int64{}
	pending := []string{""}
	slots := "pg_replslot" + string(filepath.Separator)
	for len(pending) > 0 {
		dir := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		slot, inSlot := strings.CutPrefix(dir, slots)
		err := eachName(ctx, filepath.Join(cluster.Dir, dir), func(name string, isDir bool) {
			if isDir {
				pending = append(pending, filepath.Join(dir, name))
				return
			}
			total++
			if inSlot && strings.HasPrefix(name, "xid-") && strings.HasSuffix(name, ".spill") {
				spill[slot]++
			}
		})
		if err != nil {
			return total, spill, err
		}
	}
	return total, spill, nil
}

// eachName streams the names in a directory, in no order and in bounded memory. One
// that is not there has none.
func eachName(ctx context.Context, dir string, do func(name string, isDir bool)) error {
	file, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	for {
		entries, err := file.ReadDir(1000)
		for _, entry := range entries {
			do(entry.Name(), entry.IsDir())
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}
