// Package doctor looks at the machine as a backup will meet it: directories and
// their filesystems, memory, limits, the stock tools that a restore without
// Capstan needs. Each finding says what it means and what to do.
//
// Use: make a Doctor, call Examine. It writes and removes one measuring file in
// each directory that it measures, and blocks as long as those directories do.
package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/disk"
)

// Level says how bad a finding is.
type Level string

// The levels. Bad means that backups will fail or are in danger.
const (
	Good    Level = "ok"
	Warning Level = "warning"
	Bad     Level = "bad"
)

// Finding is one thing that was looked at.
type Finding struct {
	Check  string `json:"check"`
	Level  Level  `json:"level"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"` // what to do; empty when all is well
}

// Doctor holds what it looks at.
type Doctor struct {
	Home    config.Home
	Volumes []capstan.VolumeInfo
	// Open opens a volume as a backup would, and closes it again.
	Open func(ctx context.Context, info capstan.VolumeInfo) error
	// Sample is how many bytes are written to measure a directory.
	Sample capstan.Bytes
}

// Examine looks at everything and hands each finding over as it is made.
func (d *Doctor) Examine(ctx context.Context, found func(Finding)) error {
	for _, check := range []func(context.Context, func(Finding)){d.home, d.volumes, memory, openFiles, tools} {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		check(ctx, found)
	}
	return nil
}

func (d *Doctor) home(_ context.Context, found func(Finding)) {
	if err := d.Home.Create(); err != nil {
		found(Finding{"home", Bad, err.Error(), "name another with --home DIR or $CAPSTAN_HOME"})
		return
	}
	found(d.directory("home", d.Home.Dir))
}

func (d *Doctor) volumes(ctx context.Context, found func(Finding)) {
	if len(d.Volumes) == 0 {
		found(Finding{"volumes", Good, "none known yet", "the first backup makes one: capstan backup DIR --to VOLUME"})
	}
	for _, info := range d.Volumes {
		name := "volume " + info.Location
		if err := d.Open(ctx, info); err != nil {
			found(Finding{name, Bad, err.Error(), "mount it, or find out why it is not the volume that the catalog knows"})
			continue
		}
		found(d.directory(name, info.Location))
	}
}

// directory measures one directory: its filesystem, the room on it, the speed of
// a long write, and how long a sync takes.
func (d *Doctor) directory(check, path string) Finding {
	var fs disk.FS
	kind, err := fs.Filesystem(path)
	if err != nil {
		return Finding{check, Bad, err.Error(), "the directory must be there and readable"}
	}
	free, err := fs.Free(path)
	if err != nil {
		return Finding{check, Bad, err.Error(), ""}
	}
	if free < 2*d.Sample {
		return Finding{check, Bad, fmt.Sprintf("%s on %s: only %s free", path, kind, free), "make room, or move it to a larger disk"}
	}
	rate, latency, err := measure(fs, path, d.Sample)
	if err != nil {
		return Finding{check, Bad, fmt.Sprintf("%s on %s: %v", path, kind, err), "it must be writable for this user"}
	}
	finding := Finding{
		Check: check, Level: Good,
		Detail: fmt.Sprintf("%s on %s: %s free, writes %s/s, a sync takes %s", path, kind, free, rate, latency.Round(10*time.Microsecond)),
	}
	switch {
	case kind == "tmpfs" || kind == "ramfs":
		finding.Level, finding.Advice = Warning, "this is memory: what lies here is gone after a restart"
	case latency > 200*time.Millisecond:
		finding.Level, finding.Advice = Warning, "syncs are slow: sets of many small archives will be too; raise --archive-size"
	}
	return finding
}

// measure writes a file of n random bytes and syncs it, then times small synced
// writes. Random, since some filesystems compress.
func measure(fs disk.FS, dir string, n capstan.Bytes) (rate capstan.Bytes, latency time.Duration, err error) {
	path := filepath.Join(dir, ".capstan-doctor-"+rand.Text()[:8])
	file, err := fs.Create(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, file.Close(), fs.Remove(path)) }()
	block := make([]byte, capstan.MiB)
	_, _ = rand.Read(block) // crypto/rand.Read never fails
	started := time.Now()
	for range n / capstan.MiB {
		if _, err := file.Write(block); err != nil {
			return 0, 0, err
		}
	}
	if err := file.Sync(); err != nil {
		return 0, 0, err
	}
	rate = capstan.Bytes(float64(n) / max(time.Since(started).Seconds(), 1e-6))
	const syncs = 8
	started = time.Now()
	for range syncs {
		if _, err := file.Write(block[:4096]); err != nil {
			return 0, 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, 0, err
		}
	}
	return rate, time.Since(started) / syncs, nil
}
