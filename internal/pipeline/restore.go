package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"

	"capstan"
	"capstan/internal/progress"
	"capstan/internal/target/tree"
)

// Restore is what one restore shall do.
type Restore struct {
	Set       capstan.SetID
	Paths     []string // paths or globs within the set; empty: everything
	Target    string
	Overwrite bool
	NoSpecial bool
}

// RestoreSummary is the result of a restore.
type RestoreSummary struct {
	Type     string                 `json:"type"` // always "summary"
	Set      capstan.SetID          `json:"set"`
	Status   capstan.RunStatus      `json:"status"`
	Target   string                 `json:"target"`
	Entries  int64                  `json:"entries"`
	Failed   int64                  `json:"failed"`
	Bytes    capstan.Bytes          `json:"bytes"`
	Seconds  float64                `json:"seconds"`
	Stages   []progress.StageReport `json:"stages"`
	Notes    []string               `json:"notes,omitempty"`
	Problems []Problem              `json:"problems,omitempty"`
}

// batchEntries bounds the entries that a restore holds in memory at once.
const batchEntries = 16384

var errNotInSet = errors.New("does not name anything inside a set")

// Restore puts the wanted part of a set into a directory. Damaged entries are
// left out and named (capstan.ErrIncomplete); existing files are refused before
// anything is written unless Overwrite is set; a path that the set does not
// hold is capstan.ErrNotFound, and nothing is written.
func (e *Engine) Restore(ctx context.Context, job Restore) (RestoreSummary, error) {
	summary := RestoreSummary{Type: "summary", Set: job.Set, Status: capstan.RunFailed, Target: job.Target}
	started := e.Now()
	view, err := e.restorable(ctx, job.Set)
	if err != nil {
		return summary, err
	}
	set := view.Set()
	want, err := newSelection(job.Paths)
	if err != nil {
		return summary, err
	}
	if err := view.preflight(ctx, job, want); err != nil {
		return summary, err
	}
	if want.all() {
		e.Tracker.Total(set.Counts.Entries, 0)
	}
	target, err := tree.Open(job.Target, tree.Options{Overwrite: job.Overwrite, NoSpecial: job.NoSpecial})
	if err != nil {
		return summary, err
	}
	r := &restoreRun{Engine: e, view: view, want: want, target: target, readers: e.newReaders()}
	err = errors.Join(r.run(ctx), r.readers.close(), target.Close())
	list := r.problems
	summary.Entries, summary.Bytes, summary.Failed = r.entries.Load(), capstan.Bytes(r.bytes.Load()), list.Count
	summary.Problems, summary.Notes = list.List, target.Notes()
	summary.Seconds, summary.Stages = e.Now().Sub(started).Seconds(), e.Tracker.Report()
	switch {
	case err != nil && ctx.Err() != nil:
		summary.Status = capstan.RunInterrupted
	case err != nil:
	case list.Count > 0:
		summary.Status = capstan.RunPartial
		err = &capstan.Error{
			Class: capstan.ErrIncomplete, Op: "restore", Object: string(set.ID),
			Err:  fmt.Errorf("%d entries could not be restored", list.Count),
			Safe: "all others are in " + job.Target,
		}
	default:
		summary.Status = capstan.RunComplete
	}
	return summary, err
}

// restorable finds the set and says what a person should know about it.
func (e *Engine) restorable(ctx context.Context, id capstan.SetID) (*View, error) {
	view, err := e.View(ctx, id)
	if err != nil {
		return nil, err
	}
	switch set := view.Set(); set.Status {
	case capstan.RunComplete:
	case capstan.RunPartial:
		if set.Counts.Failed > 0 {
			e.Say("set %s is partial: %d entries could not be read when it was made", set.ID, set.Counts.Failed)
		} else {
			e.Say("set %s is partial: not every volume that shall hold it has it", set.ID)
		}
	case capstan.RunRunning, capstan.RunInterrupted, capstan.RunFailed, capstan.RunCancelled:
		e.Say("set %s is not complete (%s): only what its sealed archives hold is restored", set.ID, set.Status)
	}
	return view, nil
}

// preflight walks the selection once before anything is written: it refuses
// patterns that find nothing and files that are in the way.
func (v *View) preflight(ctx context.Context, job Restore, want *selection) error {
	occupied, err := openOccupied(job.Target)
	if err != nil {
		return err
	}
	if occupied != nil {
		defer occupied.Close()
	}
	if want.all() && (occupied == nil || job.Overwrite) {
		return nil
	}
	for entry, err := range v.selected(ctx, want) {
		if err != nil {
			return err
		}
		if occupied == nil || job.Overwrite || entry.Kind == capstan.KindDir {
			continue
		}
		if _, err := occupied.Lstat(entry.Path); err == nil {
			return &capstan.Error{
				Class: capstan.ErrRefused, Op: "restore", Object: entry.Path, Err: fmt.Errorf("it exists in %s", job.Target),
				Safe: "nothing was written", Next: "restore into another directory, or give --overwrite",
			}
		}
	}
	if missing := want.missing(); len(missing) > 0 {
		return &capstan.Error{
			Class: capstan.ErrNotFound, Op: "restore", Object: missing[0],
			Err:  fmt.Errorf("set %s holds nothing of that name", job.Set),
			Safe: "nothing was written", Next: fmt.Sprintf("see: capstan ls %s", job.Set),
		}
	}
	return nil
}

// openOccupied opens a target directory that holds something already; it gives
// nil for one that is empty or not there.
func openOccupied(target string) (*os.Root, error) {
	root, err := os.OpenRoot(target)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &capstan.Error{Class: capstan.ErrRefused, Op: "restore into", Object: target, Err: err, Safe: "nothing was written"}
	}
	dir, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	names, err := dir.Readdirnames(1)
	if len(names) > 0 {
		return root, dir.Close()
	}
	_ = err // io.EOF for an empty directory; anything else shows when it is written to
	return nil, errors.Join(dir.Close(), root.Close())
}
