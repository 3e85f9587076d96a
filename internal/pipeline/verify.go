package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"capstan"
	"capstan/internal/progress"
)

// Verify is what one verification shall do.
type Verify struct {
	Sets []capstan.SetID
	// ReadData is the share of archives whose every byte is read and compared,
	// from 0 (presence and sizes only) to 100.
	ReadData int
	Patience Patience
}

// VerifySummary is the result of a verification.
type VerifySummary struct {
	Type    string            `json:"type"`          // always "summary"
	Run     capstan.RunID     `json:"run,omitempty"` // 0: it is not in the catalog
	Status  capstan.RunStatus `json:"status"`
	Sets    int               `json:"sets"`
	Copies  int               `json:"copies"`
	Read    int               `json:"read"` // copies of which every byte was read
	Entries int64             `json:"entries"`
	Bytes   capstan.Bytes     `json:"bytes"`
	Failed  int64             `json:"failed"`
	// Locked are the encrypted sets that no key opened: their files were compared
	// with their sums, the entries in them were not looked at.
	Locked   int                    `json:"locked,omitempty"`
	Seconds  float64                `json:"seconds"`
	Stages   []progress.StageReport `json:"stages"`
	Error    string                 `json:"error,omitempty"`
	Problems []Problem              `json:"problems,omitempty"`
}

type verifyRun struct {
	*Engine
	job     Verify
	summary VerifySummary
	tally   tally
	wrong   error                                // why the last of the locked sets did not open, if keys were given
	here    map[capstan.ArchiveNumber]*copyCheck // on the volume that is looked at
}

// Verify checks copies against the catalog and each set's own sums and
// signature. What is found is recorded per copy: verified, damaged, missing. It
// returns capstan.ErrIncomplete, with every problem named, when anything is wrong,
// else capstan.ErrWrongKey when keys were given and one set has another.
func (e *Engine) Verify(ctx context.Context, job Verify) (VerifySummary, error) {
	v := &verifyRun{Engine: e, job: job}
	what := reading{kind: kindVerify, patience: job.Patience}
	if len(job.Sets) == 1 {
		set, err := e.Catalog.Set(ctx, job.Sets[0])
		if err != nil {
			return VerifySummary{Type: "summary", Status: capstan.RunFailed}, err
		}
		what.set, what.job = set.ID, set.Job
	}
	summary, started := VerifySummary{}, e.Now()
	err := e.read(ctx, what, v.all, func(end ending) (result, error) {
		if !end.stuck { // else it may still be counting
			summary = v.summary
		}
		_, _, list := v.tally.read()
		summary.Type, summary.Run, summary.Status = "summary", end.run, end.status
		summary.Failed, summary.Problems = list.Count, slices.Clone(list.List)
		summary.Seconds, summary.Stages = e.Now().Sub(started).Seconds(), e.Tracker.Report()
		err := end.err
		switch {
		case err != nil:
			summary.Error = err.Error()
		case list.Count > 0:
			summary.Status = capstan.RunPartial
			err = &capstan.Error{
				Class: capstan.ErrIncomplete, Op: "verify", Err: fmt.Errorf("problems found: %d", list.Count),
				Safe: "what is not named is as it was written",
			}
		case !end.stuck:
			err = v.wrong
		}
		counts := capstan.Counts{Entries: summary.Entries, Failed: summary.Failed, BytesIn: summary.Bytes}
		return result{summary.Status, counts, summary}, err
	})
	return summary, err
}

// all checks the sets one after the other.
func (v *verifyRun) all(ctx context.Context) error {
	stage := v.Tracker.Stage(stageVerify)
	stage.Begin()
	defer stage.End()
	for _, id := range v.job.Sets {
		_, _, before := v.tally.read()
		err := v.set(ctx, id)
		if gone, lookErr := v.letGo(ctx, id, before, err); gone || lookErr != nil {
			err = lookErr
		}
		if err != nil {
			return err
		}
		v.summary.Sets++
	}
	return nil
}

// letGo reports whether a set was forgotten while it was looked at, or before that
// since the run began: then nothing that was found of it is a problem. before are the
// problems of the sets before it.
func (v *verifyRun) letGo(ctx context.Context, id capstan.SetID, before problems, found error) (bool, error) {
	if _, _, now := v.tally.read(); now.Count == before.Count && !errors.Is(found, capstan.ErrNotFound) {
		return false, nil
	}
	_, gone, err := v.Catalog.WasForgotten(ctx, id)
	if !gone || err != nil {
		return false, err
	}
	v.tally.retract(before)
	v.Say("set %s was forgotten meanwhile: it is passed over", id)
	return true, nil
}

// set checks all copies of one set, volume by volume.
func (v *verifyRun) set(ctx context.Context, id capstan.SetID) error {
	set, err := v.Catalog.Set(ctx, id)
	if err != nil {
		return err
	}
	if _, err := v.View(ctx, id); errors.Is(err, capstan.ErrIncomplete) {
		v.problem("set "+string(id), err.Error())
	}
	archives, err := v.Catalog.Archives(ctx, id)
	if err != nil {
		return err
	}
	copies, err := v.Catalog.Copies(ctx, id)
	if err != nil {
		return err
	}
	rotation, err := v.Catalog.Rotation(ctx, id)
	if err != nil {
		return err
	}
	demanded, err := v.demanded(ctx, set, archives, copies)
	if err != nil {
		return err
	}
	byNumber := make(map[capstan.ArchiveNumber]capstan.Archive, len(archives))
	for _, a := range archives {
		byNumber[a.Number] = a
	}
	byVolume := map[capstan.VolumeID][]*copyCheck{}
	for _, c := range copies {
		archive, sealed := byNumber[c.Number] // the others of an unfinished set were never there
		if sealed && said(c.State) {
			check := &copyCheck{Copy: c, archive: archive}
			check.next, _ = rotation.Find(c.Volume, archive.Name)
			byVolume[c.Volume] = append(byVolume[c.Volume], check)
		}
	}
	for volume, state := range demanded { // a set without archives has its own files there
		if state == capstan.CopyWritten && byVolume[volume] == nil {
			byVolume[volume] = []*copyCheck{}
		}
	}
	for volume, checks := range byVolume {
		state, known := demanded[volume]
		whole := finished(set) && (!known || state == capstan.CopyWritten) // else its own files are not there, or are old
		if err := v.volume(ctx, set, volume, checks, whole); err != nil {
			return err
		}
	}
	return nil
}

// said reports whether a copy is, or once was, said to be on its volume. All
// others are the queue's: whoever writes them says what becomes of them.
func said(state capstan.CopyState) bool {
	return slices.Contains([]capstan.CopyState{capstan.CopyWritten, capstan.CopyVerified, capstan.CopyDamaged, capstan.CopyMissing}, state)
}

// demanded gives what the volumes that shall hold a set have of it, and names
// those that a finished set waits for.
func (v *verifyRun) demanded(ctx context.Context, set capstan.Set, archives []capstan.Archive, copies []capstan.Copy) (map[capstan.VolumeID]capstan.CopyState, error) {
	demands, err := v.Catalog.Demands(ctx, set.ID)
	if err != nil {
		return nil, err
	}
	states := make(map[capstan.VolumeID]capstan.CopyState, len(demands))
	for _, d := range demands {
		states[d.Volume] = d.State
		if !finished(set) || d.State == capstan.CopyWritten || d.State == capstan.CopyForgotten {
			continue
		}
		there := 0
		for _, c := range copies {
			if c.Volume == d.Volume && said(c.State) {
				there++
			}
		}
		if err := v.waiting(ctx, set.ID, d.Volume, fmt.Sprintf("%d of %d archives are there, and not the set's own files", there, len(archives))); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// waiting names a volume that has not all of a set yet, and how it gets it.
func (v *verifyRun) waiting(ctx context.Context, set capstan.SetID, volume capstan.VolumeID, what string) error {
	info, err := v.Catalog.Volume(ctx, volume)
	if err != nil {
		return err
	}
	next, err := v.retryOf(ctx, set)
	if err != nil {
		return err
	}
	if next != "" {
		what += "; next: " + next
	}
	v.problem(fmt.Sprintf("set %s on %s", set, info.Location), what)
	return nil
}

// volume checks one set's copies on one volume, and the set's own files where the
// whole set is there.
func (v *verifyRun) volume(ctx context.Context, set capstan.Set, id capstan.VolumeID, checks []*copyCheck, whole bool) (err error) {
	info, err := v.Catalog.Volume(ctx, id)
	if err != nil {
		return err
	}
	v.Tracker.Stage(stageVerify).Object(fmt.Sprintf("set %s on %s", set.ID, info.Location))
	reader := v.newSetReader(set.ID)
	reader.only = id
	defer func() { err = errors.Join(err, reader.close()) }()
	volume, err := reader.volume(ctx, id)
	if err != nil {
		v.problem(fmt.Sprintf("volume %s of set %s", id, set.ID), err.Error())
		return context.Cause(ctx)
	}
	if whole {
		if err := v.setFiles(ctx, volume, set, checks); err != nil {
			return err
		}
	}
	for _, check := range checks {
		if err := v.file(ctx, volume, check); err != nil {
			return err
		}
	}
	if err := v.entries(ctx, reader, checks); err != nil {
		return err
	}
	for _, check := range checks {
		if err := v.judge(ctx, check); err != nil {
			return err
		}
	}
	return nil
}

// problem names something that is wrong; it may be called by several goroutines.
func (v *verifyRun) problem(object, reason string) {
	v.tally.problem(object, reason)
	v.Say("%s: %s", object, reason)
}

// judge records what was found of a copy. A copy that was only looked at keeps
// its state.
func (v *verifyRun) judge(ctx context.Context, c *copyCheck) error {
	if c.state == "" && c.damaged.Load() > 0 {
		c.fail(capstan.CopyDamaged, fmt.Errorf("%d entries do not match their hashes", c.damaged.Load()))
	}
	switch {
	case c.state != "":
		v.problem(c.archive.Name, fmt.Sprintf("%s: %v", c.state, c.problem))
		return v.Catalog.SetCopy(ctx, c.Set, c.Number, c.Volume, c.state, c.problem.Error(), v.Now())
	case c.read:
		return v.Catalog.SetCopy(ctx, c.Set, c.Number, c.Volume, capstan.CopyVerified, "", v.Now())
	}
	return nil
}
