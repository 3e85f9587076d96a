package dumps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/output"
	"capstan/internal/progress"
	"capstan/internal/source/postgres"
)

// StageDump is the stage in which a database is dumped; the reading of sources waits
// for it.
const StageDump = "dump"

// A batch ends with whichever it reaches first.
const (
	batchFiles = 64
	// smallFile is the largest that travels in a batch's memory, and is removed from the
	// spool before it is packed.
	smallFile = 64 << 10
	batchData = 1 << 20
)

// scan is one scan under way.
type scan struct {
	*Source
	spool *spool
	emit  func(context.Context, capstan.Batch) error
	seen  map[string]bool // paths below the source that were emitted
}

// Scan implements capstan.Source. The dump has ended when it returns, and so have all
// of its sessions; files that were emitted may still be read.
func (s *Source) Scan(ctx context.Context, baseline capstan.Baseline, emit func(context.Context, capstan.Batch) error) (err error) {
	area, err := s.opt.Stage(ctx)
	if err != nil {
		return err
	}
	dumping := s.opt.Tracker.Stage(StageDump)
	dumping.Begin()
	defer dumping.End()
	room, err := area.NewSpool(ctx, func(detail string) func() { return dumping.Wait(progress.ForSpace, detail) })
	if err != nil {
		return err
	}
	run := &scan{Source: s, spool: newSpool(room), emit: emit, seen: map[string]bool{}}
	defer func() { err = errors.Join(err, run.spool.leave(ctx)) }()
	if err := run.whole(ctx); err != nil {
		return run.told(err)
	}
	if baseline == nil {
		return nil
	}
	return run.delete(ctx, baseline)
}

// told says what a full disk was full of.
func (s *scan) told(err error) error {
	if _, known := errors.AsType[*capstan.Error](err); known || !errors.Is(err, capstan.ErrNoSpace) {
		return err
	}
	return &capstan.Error{
		Class: capstan.ErrNoSpace, Op: "spool the dump in", Object: s.spool.room.Dir(), Err: err, Safe: "no set was completed",
		Next: "make room there, or name a larger disk with --stage",
	}
}

// whole dumps and emits all that the source names.
func (s *scan) whole(ctx context.Context) error {
	if err := s.directory(ctx, s.name); err != nil {
		return err
	}
	databases := []string{""}
	if s.opt.All {
		var err error
		if databases, err = s.databases(ctx); err != nil {
			return err
		}
	}
	if s.opt.All || s.opt.Globals {
		if err := s.globals(ctx); err != nil {
			return err
		}
	}
	within := Directories(databases)
	for i, database := range databases {
		dir := s.name
		if s.opt.All {
			dir = capstan.JoinPath(s.name, within[i])
			if err := s.directory(ctx, dir); err != nil {
				return err
			}
		}
		if err := s.database(ctx, database, dir, i); err != nil {
			if s.opt.All {
				err = fmt.Errorf("database %s: %w", database, err)
			}
			return err
		}
	}
	return nil
}

// databases are those of the server that can be dumped.
func (s *scan) databases(ctx context.Context) ([]string, error) {
	defer s.waiting()()
	names, closed, err := Databases(ctx, s.opt.Dump.URL)
	if len(closed) > 0 {
		s.opt.Say("not dumped, since nobody can connect to them: %s", output.Clean(strings.Join(closed, ", ")))
	}
	return names, err
}

// waiting says that the reading of sources waits for the dump.
func (s *scan) waiting() (done func()) {
	return s.opt.Waiting(progress.ForStage(StageDump))
}

// database dumps one database and emits its files as they become complete.
func (s *scan) database(ctx context.Context, database, dir string, number int) error {
	place := filepath.Join(s.spool.room.Dir(), strconv.Itoa(number))
	if err := s.opt.Disk.Mkdir(place); err != nil {
		return err
	}
	options := s.opt.Dump
	options.Database = database
	env := postgres.Env{Disk: s.opt.Disk, Tracker: s.opt.Tracker, Say: s.opt.Say, Warn: s.opt.Warn}
	group, ctx := errgroup.WithContext(ctx)
	ended := make(chan struct{})
	group.Go(func() error {
		stage := s.opt.Tracker.Stage(StageDump)
		stage.Object(dir)
		// Its own stages say what it does, and what it waits for.
		defer stage.Wait(progress.ForStage("its sessions"), "")()
		_, err := postgres.DumpInto(ctx, env, options, place, below{s.spool, dir})
		if err == nil {
			close(ended)
		}
		return err
	})
	group.Go(func() error { return s.files(ctx, ended) })
	return group.Wait()
}

// files emits what is complete until the dump has ended and all is emitted.
func (s *scan) files(ctx context.Context, ended <-chan struct{}) error {
	for {
		over := s.waiting()
		some, flush, err := s.spool.next(ctx, ended, batchFiles)
		over()
		if err == nil && flush {
			if err = s.emit(ctx, capstan.Batch{Flush: true}); err == nil {
				continue
			}
		}
		if err != nil || len(some) == 0 {
			return err
		}
		for len(some) > 0 {
			batch, n, err := s.batch(ctx, some)
			some = some[n:]
			if err == nil {
				err = s.emit(ctx, batch)
			}
			if err != nil {
				return err
			}
		}
	}
}

// batch makes items of files, of as many as fit into its memory; n says how many.
func (s *scan) batch(ctx context.Context, files []ready) (batch capstan.Batch, n int, err error) {
	data := int64(0)
	for _, file := range files {
		item, err := s.item(ctx, file)
		if err != nil {
			for _, item := range batch.Items {
				if item.Content != nil {
					_ = item.Content.Close() // it was only read
				}
			}
			return capstan.Batch{}, n, err
		}
		batch.Items = append(batch.Items, item)
		n++
		if data += int64(len(item.Data)); data > batchData {
			break
		}
	}
	return batch, n, nil
}

// entry is that of a file or directory of the dump, read now.
func (s *scan) entry(path string, kind capstan.EntryKind, mode uint32, host string) capstan.Entry {
	s.seen[path] = true
	return capstan.Entry{
		Path: path, Kind: kind, Outcome: capstan.OutcomeStored, Mode: mode, Links: 1, ModTime: time.Now(), Host: host,
		UID: uint32(max(os.Getuid(), 0)), GID: uint32(max(os.Getgid(), 0)), //nolint:gosec // -1 on Windows, else small
	}
}

// directory emits a directory.
func (s *scan) directory(ctx context.Context, path string) error {
	const private = 0o700
	return s.emit(ctx, capstan.Batch{Items: []capstan.Item{{Entry: s.entry(path, capstan.KindDir, private, s.spec)}}})
}

// delete emits what the baseline has and this dump does not.
func (s *scan) delete(ctx context.Context, baseline capstan.Baseline) error {
	var gone []capstan.Item
	last := "" // what is in a directory that is gone is gone with it
	flush := func() error {
		if len(gone) == 0 {
			return nil
		}
		batch := capstan.Batch{Items: gone}
		gone = nil
		return s.emit(ctx, batch)
	}
	for held, err := range baseline.Walk(ctx, s.name) {
		if err != nil {
			return err
		}
		if s.seen[held.Path] || last != "" && capstan.Within(held.Path, last) {
			continue
		}
		last = held.Path
		gone = append(gone, capstan.Item{Entry: capstan.Entry{Path: held.Path, Kind: held.Kind, Outcome: capstan.OutcomeDeleted}})
		if len(gone) == batchFiles {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
