package pipeline

import (
	"context"
	"errors"
	"fmt"

	"capstan"
	"capstan/internal/catalog"
)

// The kinds of runs that make sets.
const (
	kindBackup = "backup"
	kindResume = "resume"
	// kindConsolidate makes a set out of others, or resumes that.
	kindConsolidate = "consolidate"
)

// maxTakenNames bounds how many set names that belong to others on a volume
// are passed over before something else must be wrong.
const maxTakenNames = 10000

// claim decides which set this run writes: the interrupted one of the same job
// where there is one, else a new one. Afterwards the set's name is reserved on
// the volume and the run stands in the catalog.
func (r *backupRun) claim(ctx context.Context) error {
	// Under the job's lock, a run that still says it runs has lost its process.
	if _, err := r.Catalog.InterruptRuns(ctx, r.Job, kindBackup, kindResume, kindConsolidate, kindRetry); err != nil {
		return err
	}
	r.expect(ctx)
	open, err := r.Catalog.OpenSets(ctx, r.Job)
	if err != nil {
		return err
	}
	for _, set := range open {
		if set.Consolidates != r.Consolidates {
			continue
		}
		adopted, err := r.resume(ctx, set)
		if err != nil {
			return err
		}
		if adopted {
			break
		}
	}
	if r.set.ID == "" {
		if err := r.begin(ctx); err != nil {
			return err
		}
	}
	longer, stop := catalog.Outlive(ctx, cleanupTime) // a record that is made though its call fails would be nobody's
	defer stop()
	r.run, err = r.Catalog.BeginRun(longer, r.set.ID, r.Job, r.kind(), r.started)
	return err
}

// kind is that of the run, once it is known whether it resumes another.
func (r *backupRun) kind() string {
	switch {
	case r.Consolidates != "":
		return kindConsolidate
	case r.resumed:
		return kindResume
	}
	return kindBackup
}

// claimant is what the set's directory on a volume is claimed with: the home, and
// a word that only this catalog's own row of the set knows. A catalog that was
// lost, copied or put back from a copy of its own thus never takes a set that is
// there already for one that it is about to make.
func (e *Engine) claimant(set capstan.Set) string {
	return e.Key.ID() + capstan.ClaimMark + set.Claim
}

func (r *backupRun) owner() string { return r.claimant(r.set) }

// expect takes the size of the job's last set as that of this one, so that the
// time left can be told.
func (r *backupRun) expect(ctx context.Context) {
	if r.chain != nil {
		counts := r.chain.view.Set().Counts
		r.Tracker.Total(counts.Entries, counts.BytesIn)
		return
	}
	if last, err := r.Catalog.Latest(ctx, r.Job); err == nil {
		r.Tracker.Total(last.Counts.Entries, last.Counts.BytesIn)
	}
}

// begin makes a new set under the next name that nobody else holds on the volume.
func (r *backupRun) begin(ctx context.Context) error {
	base, err := r.base(ctx)
	if err != nil {
		return err
	}
	longer, stop := catalog.Outlive(ctx, cleanupTime)
	defer stop()
	for range maxTakenNames {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		set, err := r.beginSet(longer)
		if err != nil {
			return err
		}
		taken, err := r.reserve(ctx, set)
		if err == nil && taken == "" {
			set.Base, set.Recipients = base, r.Recipients.Strings()
			r.set = set
			if err := r.Catalog.BuildOn(ctx, set.ID, base); err != nil {
				return err
			}
			if set.Encrypted() {
				if err := r.Catalog.EncryptTo(ctx, set.ID, set.Recipients); err != nil {
					return err
				}
			}
			return r.Catalog.Demand(longer, set.ID, r.volumeIDs()...)
		}
		switch {
		case err == nil:
		case r.unanswered:
			// A claim that was left behind may come through yet. The next run finds the set
			// and takes it over, with whatever lies on a volume in its name.
			return errors.Join(err, r.Catalog.SetStatus(longer, set.ID, capstan.RunInterrupted, capstan.Counts{}))
		default:
			return errors.Join(err, r.Catalog.DeleteSet(context.WithoutCancel(ctx), set.ID))
		}
		r.Say("set %s is on %s already and belongs to another catalog: taking the next number", set.ID, taken)
		if err := r.Catalog.SkipSet(ctx, set.ID); err != nil {
			return err
		}
	}
	return fmt.Errorf("no free set name on %s after %d tries", r.Volumes[0].Info.Location, maxTakenNames)
}

// resume takes an interrupted set over: unsealed files are discarded, sealed
// archives that still lie on the volume are kept. It reports false for a set
// that cannot be continued with this run's settings; that one is left as it is.
func (r *backupRun) resume(ctx context.Context, set capstan.Set) (bool, error) {
	if set.Claim == "" {
		return false, nil // read from a volume: another home's, or this one's before its catalog was lost
	}
	if err := r.describe(ctx, &set); err != nil {
		return false, err
	}
	if set.Codec != r.Codec {
		r.Say("interrupted set %s was compressed with %s: starting a new one", set.ID, set.Codec)
		return false, nil
	}
	if set.Base != "" && r.Mode != Incremental && r.Mode != Differential {
		r.Say("interrupted set %s is an incremental one: starting a full one", set.ID)
		return false, nil
	}
	if same, err := r.sameRecipients(ctx, &set); err != nil || !same {
		return false, err
	}
	if taken, err := r.reserve(ctx, set); err != nil || taken != "" {
		return false, err
	}
	r.set, r.resumed = set, true // from here on the end of this run is the set's
	files, err := r.discard(ctx)
	if err != nil {
		return false, err
	}
	archives, entries, err := r.Catalog.DiscardUnsealed(ctx, set.ID)
	if err != nil {
		return false, err
	}
	sealed, err := r.adoptArchives(ctx, set.ID)
	if err == nil {
		err = r.demand(ctx)
	}
	if err != nil {
		return false, err
	}
	if err := r.Catalog.SetStatus(ctx, set.ID, capstan.RunRunning, set.Counts); err != nil {
		return false, err
	}
	r.Say("resuming set %s: %d sealed archives kept, %d unfinished files and %d unsealed archives with %d entries discarded",
		set.ID, sealed, files, archives, entries)
	return true, nil
}

// describe gives a set that holds nothing yet what begin gives a new one. The run
// that began it may have ended before it could say more of the set than its name; or
// it was to be of another kind, which binds nobody.
func (r *backupRun) describe(ctx context.Context, set *capstan.Set) error {
	err := r.Catalog.EncryptTo(ctx, set.ID, r.Recipients.Strings())
	if errors.Is(err, capstan.ErrRefused) {
		return nil // it holds something
	}
	var base capstan.SetID
	if err == nil {
		base, err = r.base(ctx)
	}
	if err == nil {
		err = r.Catalog.BuildOn(ctx, set.ID, base)
	}
	set.Recipients, set.Base = r.Recipients.Strings(), base
	return err
}

// madeHere reports whether a file of that name in a set's directory is one that a
// run makes; whatever else lies there is somebody's own.
func madeHere(set capstan.SetID, name string) bool {
	if isSetFile(name) {
		return true
	}
	of, _, _, ok := capstan.ParseArchiveName(name)
	return ok && of == set
}
