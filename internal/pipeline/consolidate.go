package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/envelope"
	"capstan/internal/progress"
	"capstan/internal/source/sets"
)

// Consolidate makes a set of the tree that another one shows with all that it builds
// on, out of their archives alone. The new set belongs to the same job, stands where
// the other one stands in time, and builds on nothing; the others stay as they are.
// What is damaged in them is missing in the new set, by name: it is partial then
// (capstan.ErrIncomplete). A run that was cut short is resumed by the next call. Of the
// job, Job, Sources and Mode are not looked at.
//
// Beside those of Backup, errors are: capstan.ErrRefused for a set that is not finished, or
// that would no longer be encrypted; capstan.ErrWrongKey when a set of the chain does
// not open; in both cases nothing was written.
func (e *Engine) Consolidate(ctx context.Context, job Backup) (Summary, error) {
	set, err := e.Catalog.Set(ctx, job.Consolidates)
	if err == nil {
		err = consolidable(&set)
	}
	if err != nil {
		job.close()
		return Summary{Type: "summary", Set: job.Consolidates, Status: capstan.RunFailed, Error: err.Error()}, err
	}
	job.Job, job.JobName, job.Mode, job.Sources = set.Job, "", Full, nil
	return e.Backup(ctx, job)
}

// consolidable refuses a set that is not finished, or that builds on nothing.
func consolidable(set *capstan.Set) error {
	told := &capstan.Error{Class: capstan.ErrRefused, Op: "consolidate set", Object: string(set.ID), Safe: "nothing was written"}
	switch {
	case !finished(*set):
		told.Err, told.Next = fmt.Errorf("its run is %s", set.Status), "run its job again: it resumes"
	case set.Base == "":
		told.Err = errors.New("it is a full one, which builds on nothing")
	default:
		return nil
	}
	return told
}

// Consolidated finds the set that holds the tree of another one by itself, lacks no
// more of it, and is on all of the volumes; an empty one for none.
func (e *Engine) Consolidated(ctx context.Context, of capstan.Set, volumes []capstan.VolumeID) (capstan.Set, error) {
	all, err := e.Catalog.Sets(ctx, catalog.SetFilter{Job: of.Job})
	if err != nil {
		return capstan.Set{}, err
	}
	for _, set := range all {
		if set.Consolidates != of.ID || set.Forgotten || !finished(set.Set) || set.Counts.Failed > of.Counts.Failed {
			continue
		}
		whole, err := e.isOn(ctx, set.ID, volumes)
		if err != nil || whole {
			return set.Set, err
		}
	}
	return capstan.Set{}, nil
}

// isOn reports whether each of the volumes has all archives of a set, as far as is known.
func (e *Engine) isOn(ctx context.Context, set capstan.SetID, volumes []capstan.VolumeID) (bool, error) {
	archives, err := e.Catalog.Archives(ctx, set)
	if err != nil {
		return false, err
	}
	copies, err := e.Catalog.Copies(ctx, set)
	if err != nil {
		return false, err
	}
	there := map[capstan.VolumeID]int{}
	for _, c := range copies {
		if c.State == capstan.CopyWritten || c.State == capstan.CopyVerified {
			there[c.Volume]++
		}
	}
	return !slices.ContainsFunc(volumes, func(v capstan.VolumeID) bool { return there[v] < len(archives) }), nil
}

// isOnAll reports whether a set is on every volume of the run.
func (r *backupRun) isOnAll(ctx context.Context, set capstan.SetID) (bool, error) {
	return r.isOn(ctx, set, r.volumeIDs())
}

// chain is what a run consolidates.
type chain struct {
	view    *View
	readers *readers
	library *sets.Library
}

// openChain opens what the run consolidates, under the job's lock, so that nothing of it
// is forgotten meanwhile, and finds out to whom the new set is encrypted. Nothing is
// written.
func (r *backupRun) openChain(ctx context.Context) error {
	view, err := r.View(ctx, r.Consolidates)
	if err != nil {
		return err
	}
	set := view.Set()
	if err := consolidable(&set); err != nil {
		return err
	}
	r.chain = &chain{view: view, readers: r.newReaders()}
	r.chain.library = sets.NewLibrary(r.borrow, r.Memory/8, r.workers())
	stage := r.Tracker.Stage(stageBegin)
	stage.Begin()
	defer stage.End()
	defer stage.Wait(progress.ForVolume, "the sets' signatures")()
	if err := r.chain.readers.unlock(ctx, view.Chain); err != nil {
		return nothingWritten(err)
	}
	if err := r.inherit(ctx); err != nil {
		return err
	}
	// Doubts are said; each content is proven by the hash that the catalog recorded.
	if _, err := r.chain.readers.prove(ctx, view.Chain); err != nil {
		return err
	}
	return r.chainSources(ctx)
}

// closeChain ends the reading of what the run consolidates.
func (r *backupRun) closeChain() {
	if r.chain == nil {
		return
	}
	if err := errors.Join(r.chain.library.Close(), r.chain.readers.close()); err != nil {
		r.Say("%v", err) // all was read, and proven
	}
}

// borrow opens an archive of the chain.
func (r *backupRun) borrow(ctx context.Context, set capstan.SetID, number capstan.ArchiveNumber) (sets.Opened, error) {
	a, err := r.chain.readers.of(set).take(ctx, number)
	if err != nil {
		return sets.Opened{}, err
	}
	if damage := a.Damage(); damage != nil {
		r.Say("archive %s: %v; its frames were found by a scan", a.info.Name, damage)
	}
	return sets.Opened{Reader: a.Reader, Close: a.file.Close}, nil
}

// chainSources makes a source of each first name of the tree, in the order in which
// the archives hold them.
func (r *backupRun) chainSources(ctx context.Context) error {
	type root struct {
		name string
		age  int // of the set that was the first to hold it
		at   capstan.Location
	}
	var roots []root
	for held, err := range r.chain.view.Children(ctx, "", "") {
		if err != nil {
			return err
		}
		first := root{name: held.Path, age: len(r.chain.view.Chain)}
		for age, set := range r.chain.view.Chain {
			e, found, err := r.Catalog.Entry(ctx, set.ID, held.Path)
			if err != nil {
				return err
			}
			if found && e.Archive != 0 {
				first.age, first.at = age, e.Location
				break
			}
		}
		roots = append(roots, first)
	}
	slices.SortStableFunc(roots, func(a, b root) int {
		return cmp.Or(a.age-b.age, cmp.Compare(a.at.Archive, b.at.Archive), cmp.Compare(a.at.Offset, b.at.Offset))
	})
	for _, root := range roots {
		r.Sources = append(r.Sources, sets.New(root.name, sets.Options{
			Set: r.Consolidates, Walk: r.chain.view.Walk, Holds: r.chain.view.holdsFile, Library: r.chain.library,
			Workers: r.workers(), Memory: r.Memory / 32,
			Wait: func() func() { return r.Tracker.Stage(stageScan).Wait(progress.ForVolume, "the archives of the sets") },
		}))
	}
	return nil
}

// holdsFile reports whether the view holds a file under the path.
func (v *View) holdsFile(ctx context.Context, path string) (bool, error) {
	e, found, err := v.Entry(ctx, path)
	return found && e.Outcome.Held() && e.Kind == capstan.KindFile, err
}

// packMemory is what packing may use; a chain's frames are held beside it, and the
// walks of its sets.
func (r *backupRun) packMemory() capstan.Bytes {
	if r.chain != nil {
		return r.Memory * 3 / 8
	}
	return r.Memory * 3 / 4
}

// beginSet makes the row of the run's new set.
func (r *backupRun) beginSet(ctx context.Context) (capstan.Set, error) {
	if r.chain != nil {
		return r.Catalog.BeginConsolidated(ctx, r.chain.view.Set(), r.Codec, r.Recipients.Strings(), r.started)
	}
	specs := make([]string, len(r.Sources))
	for i, source := range r.Sources {
		specs[i] = source.Spec()
	}
	return r.Catalog.BeginSet(ctx, r.Job, r.Host, r.Codec, specs, r.started)
}

// inherit gives the run the recipients of the set that it consolidates, if it has none
// of its own. What is encrypted in an older set must not come to lie open.
func (r *backupRun) inherit(ctx context.Context) (err error) {
	set := r.chain.view.Set()
	refuse := func(why, next string) error {
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "consolidate set", Object: string(set.ID), Err: errors.New(why), Safe: "nothing was written", Next: next,
		}
	}
	if r.Recipients != nil {
		return nil
	}
	for _, link := range r.chain.view.Chain {
		if !set.Encrypted() && link.Encrypted() {
			return refuse(fmt.Sprintf("it is not encrypted, but set %s is, on which it builds: what that one holds would lie open", link.ID),
				"say to whom the new set is encrypted, with --encrypt-to")
		}
	}
	if !set.Encrypted() {
		return nil
	}
	rotates, err := r.rotates(ctx, set.ID)
	switch {
	case err != nil:
		return err
	case rotates:
		return refuse("giving it other recipients was not finished", "call the same capstan key rewrap again first")
	case !envelope.IsPassphrase(set.Recipients):
		r.Recipients, err = envelope.ParseRecipients(set.Recipients, nil)
		return err
	case r.Passphrase == nil:
		return refuse("it is encrypted with a passphrase, and none was given for the new set",
			"give it with --passphrase-file, or say to whom the new set is encrypted, with --encrypt-to")
	}
	if r.Recipients, err = envelope.ParseRecipients(nil, r.Passphrase); err != nil {
		return err
	}
	return nothingWritten(r.locked(ctx, set.ID, r.opens(ctx, set.ID, r.Recipients.Secret())))
}
