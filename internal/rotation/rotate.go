package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/envelope"
	"capstan/internal/manifest"
	"capstan/internal/progress"
)

// Runner holds what rotations need. All fields are set before the first call.
type Runner struct {
	Catalog    *catalog.Catalog
	Tracker    *progress.Tracker
	Key        *manifest.Key        // signs the sets of this home
	Identities *envelope.Identities // open the sets as they are
	Now        func() time.Time
	// Open opens a volume that the catalog knows; Rotate closes it.
	Open func(ctx context.Context, info capstan.VolumeInfo) (capstan.Volume, error)
	// Say tells people one line; it never blocks.
	Say func(format string, args ...any)
}

// Summary is the result of one rotation.
type Summary struct {
	Type       string            `json:"type"` // always "summary"
	Set        capstan.SetID     `json:"set"`
	Status     capstan.RunStatus `json:"status"`
	Recipients []string          `json:"recipients"`
	Volumes    int               `json:"volumes"`
	Files      int               `json:"files"` // that have their new header, on all volumes
	Bytes      capstan.Bytes     `json:"bytes"` // that were rewritten
	Seconds    float64           `json:"seconds"`
	Problems   []Problem         `json:"problems,omitempty"`
}

// Problem is a file that could not get its new header.
type Problem struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
}

// Rotate gives the files of a finished set of this home other recipients. Errors:
// capstan.ErrWrongKey when the identities do not open it, capstan.ErrLocked when its
// job runs or another run has a volume, capstan.ErrRefused for a set that is not encrypted, is another home's, or
// lies on a volume that is not there or cannot replace files; nothing is changed
// then. capstan.ErrIncomplete names copies that are damaged. Anything else leaves a
// rotation that the next call with the same recipients finishes.
func (r *Runner) Rotate(ctx context.Context, id capstan.SetID, to *envelope.Recipients) (summary Summary, err error) {
	started := r.Now()
	run := &run{Runner: r, to: to, summary: Summary{Type: "summary", Set: id, Status: capstan.RunFailed, Recipients: to.Strings()}}
	stage := r.Tracker.Stage("rotate")
	stage.Begin()
	defer stage.End()
	err = run.locked(ctx, id)
	run.summary.Seconds = r.Now().Sub(started).Seconds()
	switch {
	case err == nil && len(run.summary.Problems) > 0:
		run.summary.Status = capstan.RunPartial
		err = &capstan.Error{
			Class: capstan.ErrIncomplete, Op: "rotate set", Object: string(id),
			Err:  fmt.Errorf("%d files are damaged and have no other recipients", len(run.summary.Problems)),
			Safe: "all others have", Next: "see: capstan verify " + string(id) + " --read-data",
		}
	case err == nil:
		run.summary.Status = capstan.RunComplete
	case run.begun:
		err = &capstan.Error{
			Op: "rotate set", Object: string(id), Err: err, Safe: "it can be read, with the old and the new keys together",
			Next: "call the same command again to finish",
		}
	}
	return run.summary, err
}

// run is the state of one rotation.
type run struct {
	*Runner
	to       *envelope.Recipients
	set      capstan.Set // as the catalog has it
	chain    []capstan.SetID
	archives []capstan.Archive
	open     catalog.Rotation
	keys     *envelope.Identities
	begun    bool // the catalog says so
	volumes  []*volume
	summary  Summary
}

// locked rotates under the lock of the set's job.
func (r *run) locked(ctx context.Context, id capstan.SetID) (err error) {
	if r.set, err = r.Catalog.Set(ctx, id); err != nil {
		return err
	}
	if err := r.rotatable(); err != nil {
		return err
	}
	lock, err := r.Catalog.LockJob(ctx, r.set.Job)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if r.archives, err = r.Catalog.Archives(ctx, id); err != nil {
		return err
	}
	if r.open, err = r.Catalog.Rotation(ctx, id); err != nil {
		return err
	}
	r.keys = r.Identities.For(r.set.Recipients)
	if len(r.open.Recipients) > 0 {
		r.begun, r.keys = true, r.Identities.For(nil) // some files have others
	} else if slices.Equal(r.set.Recipients, r.to.Strings()) && !envelope.IsPassphrase(r.set.Recipients) {
		r.Say("set %s has these recipients already", id)
		return nil
	}
	if err := r.findChain(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.closeVolumes(ctx)) }()
	if err := r.openVolumes(ctx); err != nil {
		return err
	}
	return r.rotate(ctx)
}

func (r *run) refuse(why error, next string) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "rotate set", Object: string(r.set.ID), Err: why, Safe: "nothing was changed", Next: next,
	}
}

func (r *run) rotatable() error {
	switch {
	case r.set.Status != capstan.RunComplete && r.set.Status != capstan.RunPartial:
		return r.refuse(fmt.Errorf("it is %s", r.set.Status), "finish it first: run its job again")
	case !r.set.Encrypted():
		return r.refuse(errors.New("it is not encrypted, and what was once written in the clear cannot be called back"), "make a new one: capstan backup --encrypt-to")
	}
	return nil
}

// findChain lists the sets that this one builds on, the oldest first.
func (r *run) findChain(ctx context.Context) error {
	for base := r.set.Base; base != ""; {
		set, err := r.Catalog.Set(ctx, base)
		if errors.Is(err, capstan.ErrNotFound) {
			return r.refuse(fmt.Errorf("it builds on set %s, which the catalog does not know", base), "read the volume that holds it: capstan catalog rebuild VOLUME")
		}
		if err != nil {
			return err
		}
		if slices.Contains(r.chain, base) {
			return fmt.Errorf("set %s builds on itself: %w", base, capstan.ErrDamaged)
		}
		r.chain = append(r.chain, base)
		base = set.Base
	}
	slices.Reverse(r.chain)
	return nil
}

// rotate does the work, once all volumes are there.
func (r *run) rotate(ctx context.Context) error {
	if err := r.sameSecret(); err != nil {
		return err
	}
	for _, v := range r.volumes {
		if err := v.unlock(ctx); err != nil {
			return err
		}
	}
	if err := r.Catalog.BeginRotation(ctx, r.set.ID, r.to.Strings()); err != nil {
		return err
	}
	r.begun = true
	for _, v := range r.volumes {
		if err := v.keepOriginals(ctx); err != nil {
			return err
		}
	}
	for _, v := range r.volumes {
		if err := v.files(ctx); err != nil {
			return err
		}
	}
	sums := map[capstan.VolumeID]capstan.Hash{}
	for _, v := range r.volumes {
		sum, err := v.finish(ctx)
		if err != nil {
			return err
		}
		sums[v.Info().ID] = sum
	}
	if err := r.Catalog.EndRotation(ctx, r.set.ID, sums); err != nil {
		return err
	}
	r.begun = false
	return nil
}

// sameSecret refuses to go on with a rotation to a passphrase with another one.
func (r *run) sameSecret() error {
	secret := r.to.Secret()
	if secret == nil {
		return nil
	}
	for _, w := range r.open.Rewraps {
		if _, _, _, ok := capstan.ParseArchiveName(w.Name); !ok {
			continue
		}
		if err := secret.OpenHeader(w.Header); err != nil {
			return r.refuse(errors.New("a rotation with another passphrase is not finished"), "finish that one first, with the passphrase that it began with")
		}
		return nil
	}
	return nil
}

// note records what becomes of a file, for this run and the next.
func (r *run) note(ctx context.Context, w catalog.Rewrap) error {
	if err := r.Catalog.PlanRewrap(ctx, r.set.ID, w); err != nil {
		return err
	}
	r.forget(w.Volume, w.Name)
	r.open.Rewraps = append(r.open.Rewraps, w)
	return nil
}

func (r *run) forget(volume capstan.VolumeID, name string) {
	r.open.Rewraps = slices.DeleteFunc(r.open.Rewraps, func(w catalog.Rewrap) bool { return w.Volume == volume && w.Name == name })
}

// elsewhere gives the row of the same archive on another volume: copies stay alike.
func (r *run) elsewhere(volume capstan.VolumeID, name string) (catalog.Rewrap, bool) {
	for _, w := range r.open.Rewraps {
		if w.Volume != volume && w.Name == name && len(w.Header) > 0 {
			return w, true
		}
	}
	return catalog.Rewrap{}, false
}

// next are the archives as they are after the rotation.
func (r *run) next() []capstan.Archive {
	archives := slices.Clone(r.archives)
	for i := range archives {
		for _, w := range r.open.Rewraps {
			if w.Name == archives[i].Name && !w.Hash.IsZero() {
				archives[i].Size, archives[i].Hash = w.Size, w.Hash
			}
		}
	}
	return archives
}

// named says of which set a wrong key was tried.
func (r *run) named(err error) error {
	wrong, ok := errors.AsType[*capstan.Error](err)
	if !ok || !errors.Is(wrong.Class, capstan.ErrWrongKey) {
		return err
	}
	told := *wrong
	told.Op, told.Object = "rotate set", string(r.set.ID)
	if !r.begun {
		told.Safe = "nothing was changed"
	}
	return &told
}
