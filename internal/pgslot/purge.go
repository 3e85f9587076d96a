package pgslot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"capstan"
	"capstan/internal/pgdata"
)

// PurgeOptions say how spill files are removed.
type PurgeOptions struct {
	Rate    int // files a second at most, so that the server has the disk too; 0: no limit
	Workers int // 0 means one
	DryRun  bool
	// Progress is told the number of files removed so far; it may be nil. It is called
	// from several goroutines and must not block.
	Progress func(files int64)
}

// Purged is what a purge did.
type Purged struct {
	ID     string   `json:"id"`
	Slot   string   `json:"slot"`
	Path   string   `json:"path"`
	Files  int64    `json:"files"`  // removed, or that would be
	Others int64    `json:"others"` // that are no spill files, and stay; the old state among them
	Named  []string `json:"other_names,omitempty"`
}

// Purge removes the spill files in a quarantine, and nothing else: its directory, the
// old state and the record stay. It is refused before a start that succeeded (see
// Started), and for a directory that is not the one that was moved. Memory does not
// grow with the number of files. A purge that was ended goes on at the next call.
func (p *Place) Purge(ctx context.Context, r *Record, o PurgeOptions) (Purged, error) {
	done := Purged{ID: r.ID, Slot: r.Slot, Path: r.Path()}
	if err := p.purgeable(r); err != nil {
		return done, err
	}
	for {
		before := done.Files
		if err := p.pass(ctx, r, o, &done); err != nil {
			return done, err
		}
		// Some filesystems leave names out while others are removed.
		if o.DryRun || done.Files == before {
			break
		}
	}
	if o.DryRun {
		return done, nil
	}
	if err := p.FS.SyncDir(r.Path()); err != nil {
		return done, err
	}
	finished := *r
	finished.Step = StepPurged
	if err := p.write(&finished, false); err != nil {
		return done, err
	}
	*r = finished
	return done, nil
}

// purgeable refuses what must not be purged.
func (p *Place) purgeable(r *Record) error {
	refuse := func(err error, next string) error { return refused("purge", r.Path(), err, next) }
	if r.Step != StepStarted && r.Step != StepPurged {
		return refuse(errors.New("the server has not come up since the slot was quarantined"), "start it: capstan pg start -D "+p.Dir)
	}
	is, err := lookAt(r.Path())
	if err != nil {
		return refuse(err, "see: capstan pg spill purge -D "+p.Dir+" --dry-run")
	}
	if !is.dir || is.inode != r.Old {
		return refuse(errors.New("it is not the directory that was moved there"), "look at it; Capstan removes nothing that it did not put there")
	}
	real, err := filepath.EvalSymlinks(r.Path())
	if err != nil {
		return refuse(err, "look at it")
	}
	slots, err := filepath.EvalSymlinks(p.replslot())
	if err != nil {
		return refuse(err, "check pg_replslot")
	}
	if within(real, slots) {
		return refuse(errors.New("it is inside pg_replslot"), "look at it")
	}
	return nil
}

// pass goes through the directory once.
func (p *Place) pass(ctx context.Context, r *Record, o PurgeOptions, done *Purged) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan string)
	var removed atomic.Int64
	var workers sync.WaitGroup
	for range max(o.Workers, 1) {
		workers.Go(func() {
			for name := range work {
				if err := p.FS.Remove(filepath.Join(r.Path(), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					cancel(err)
					continue // the others are taken, so that the reader never hangs
				}
				n := removed.Add(1)
				if o.Progress != nil {
					o.Progress(done.Files + n)
				}
			}
		})
	}
	done.Others, done.Named = 0, nil
	counted := int64(0)
	pace := pacer{rate: o.Rate, began: time.Now()}
	err := names(ctx, r.Path(), func(found []string) error {
		for _, name := range found {
			if _, ok := pgdata.ParseSpillName(name); !ok {
				if done.Others++; len(done.Named) < 20 && name != stateFile {
					done.Named = append(done.Named, name)
				}
				continue
			}
			if counted++; o.DryRun {
				continue
			}
			if err := pace.next(ctx); err != nil {
				return err
			}
			select {
			case work <- name:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	close(work)
	workers.Wait()
	if o.DryRun {
		done.Files = counted
	} else {
		done.Files += removed.Load()
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil && !o.DryRun {
		return &capstan.Error{
			Op: "purge", Object: r.Path(), Err: fmt.Errorf("after %d files: %w", done.Files, err), Safe: "the slot is not touched by it",
			Next: "call it again: it goes on",
		}
	}
	return err
}

// pacer lets so many steps through in a second, evenly.
type pacer struct {
	rate  int
	began time.Time
	steps int64
}

func (p *pacer) next(ctx context.Context) error {
	p.steps++
	// A timer for each of ten thousand files a second would cost more than the files.
	if p.rate <= 0 || p.steps%64 != 0 {
		return nil
	}
	due := p.began.Add(time.Duration(float64(p.steps) / float64(p.rate) * float64(time.Second)))
	wait := time.Until(due)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
