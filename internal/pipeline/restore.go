package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

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
	Part      bool // of another run: it has no row of its own
	Patience  Patience
}

// RestoreSummary is the result of a restore.
type RestoreSummary struct {
	Type     string                 `json:"type"`          // always "summary"
	Run      capstan.RunID          `json:"run,omitempty"` // 0: it is not in the catalog
	Set      capstan.SetID          `json:"set"`
	Status   capstan.RunStatus      `json:"status"`
	Target   string                 `json:"target"`
	Entries  int64                  `json:"entries"`
	Failed   int64                  `json:"failed"`
	Bytes    capstan.Bytes          `json:"bytes"`
	Seconds  float64                `json:"seconds"`
	Stages   []progress.StageReport `json:"stages"`
	Notes    []string               `json:"notes,omitempty"`
	Error    string                 `json:"error,omitempty"`
	Problems []Problem              `json:"problems,omitempty"`
	// Doubts are about the signatures of the sets that were read. What was restored
	// was proven by the catalog's hashes all the same.
	Doubts []Problem `json:"doubts,omitempty"`
}

// batchEntries bounds the entries that a verification holds in memory at once.
const batchEntries = 16384

var errNotInSet = errors.New("does not name anything inside a set")

// Restore puts the wanted part of a set into a directory. Damaged entries are
// left out and named (capstan.ErrIncomplete); existing files are refused before
// anything is written unless Overwrite is set; a path that the set does not
// hold is capstan.ErrNotFound, and a set of the chain that no key opens is
// capstan.ErrWrongKey; nothing is written then.
func (e *Engine) Restore(ctx context.Context, job Restore) (RestoreSummary, error) {
	summary := RestoreSummary{Type: "summary", Set: job.Set, Status: capstan.RunFailed, Target: job.Target}
	started := e.Now()
	want, err := newSelection(job.Paths)
	if err != nil {
		return summary, err
	}
	view, err := Attend(ctx, e, job.Patience, func(ctx context.Context) (*View, error) {
		view, err := e.restorable(ctx, job.Set)
		if err == nil {
			err = view.preflight(ctx, job, want)
		}
		return view, err
	})
	if err != nil {
		return summary, err
	}
	set := view.Set()
	if want.all() {
		e.Tracker.Total(set.Counts.Entries, 0)
	}
	r := &restoreRun{Engine: e, view: view, want: want, readers: e.newReaders()}
	err = e.read(ctx, reading{kindRestore, job.Part, set.ID, set.Job, job.Patience}, func(ctx context.Context) error {
		return errors.Join(r.all(ctx, job), r.readers.close())
	}, func(end ending) (result, error) {
		r.summarize(&summary, end)
		summary.Seconds, summary.Stages = e.Now().Sub(started).Seconds(), e.Tracker.Report()
		err := end.err
		if summary.Status == capstan.RunPartial {
			err = &capstan.Error{
				Class: capstan.ErrIncomplete, Op: "restore", Object: string(set.ID),
				Err:  fmt.Errorf("entries that could not be restored: %d", summary.Failed),
				Safe: "all others are in " + job.Target,
			}
		}
		counts := capstan.Counts{Entries: summary.Entries + summary.Failed, Stored: summary.Entries, Failed: summary.Failed, BytesIn: summary.Bytes}
		return result{summary.Status, counts, summary}, err
	})
	return summary, err
}

// all looks at the sets that are to be read, and then restores.
func (r *restoreRun) all(ctx context.Context, job Restore) error {
	stage := r.Tracker.Stage(stageRestore)
	stage.Begin()
	done := stage.Wait(progress.ForVolume, "the sets' signatures")
	err := r.readers.unlock(ctx, r.view.Chain)
	if err == nil {
		var doubts []Problem
		doubts, err = r.readers.prove(ctx, r.view.Chain)
		r.mu.Lock()
		r.doubts = doubts
		r.mu.Unlock()
	}
	done()
	stage.End()
	if err != nil {
		return nothingWritten(err)
	}
	target, err := tree.Open(job.Target, tree.Options{Overwrite: job.Overwrite, NoSpecial: job.NoSpecial})
	if err != nil {
		return err
	}
	r.target = target
	return errors.Join(r.run(ctx), target.Close())
}

// summarize tells what was restored.
func (r *restoreRun) summarize(s *RestoreSummary, end ending) {
	r.mu.Lock()
	list := r.problems
	s.Doubts = r.doubts
	r.mu.Unlock()
	s.Run, s.Status = end.run, end.status
	s.Entries, s.Bytes, s.Failed = r.entries.Load(), capstan.Bytes(r.bytes.Load()), list.Count
	s.Problems = slices.Clone(list.List)
	if end.err != nil {
		s.Error = end.err.Error()
	} else if list.Count > 0 {
		s.Status = capstan.RunPartial
	}
	if !end.stuck && r.target != nil {
		s.Notes = r.target.Notes()
	}
}

// nothingWritten says so of a wrong key.
func nothingWritten(err error) error {
	if wrong, ok := errors.AsType[*capstan.Error](err); ok && errors.Is(err, capstan.ErrWrongKey) {
		told := *wrong
		told.Safe = "nothing was written"
		return &told
	}
	return err
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
	stage := v.engine.Tracker.Stage(stageBegin)
	stage.Begin()
	defer stage.End()
	stage.Object(job.Target)
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
		stage.Moved(0, 1)
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
