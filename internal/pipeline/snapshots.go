package pipeline

import (
	"context"
	"slices"

	"capstan"
)

func isSnapshot(source capstan.Source) bool {
	_, is := source.(capstan.Snapshotter)
	return is
}

// anySnapshot reports whether one of the sources is read as of one moment.
func (r *backupRun) anySnapshot() bool { return slices.ContainsFunc(r.Sources, isSnapshot) }

// onlySnapshots reports whether all are.
func (r *backupRun) onlySnapshots() bool {
	return len(r.Sources) > 0 && !slices.ContainsFunc(r.Sources, func(s capstan.Source) bool { return !isSnapshot(s) })
}

// hasSnapshot reports whether a source's snapshot is packed already: a second pass,
// which packs again what stale archives held, must not mix it with another. The first
// call for a source tells that it is about to be.
func (r *backupRun) hasSnapshot(source capstan.Source) bool {
	if !isSnapshot(source) {
		return false
	}
	if r.taken == nil {
		r.taken = map[string]bool{}
	}
	had := r.taken[source.Name()]
	r.taken[source.Name()] = true
	return had
}

// giveUpSnapshots takes back the archives that hold anything of a snapshot, or of a
// source that the run does not have: the interrupted run read another moment, and
// half of a dump must never look like a whole one. What else was in them is packed
// again. A kill in between leaves files that the next run removes.
func (r *backupRun) giveUpSnapshots(ctx context.Context, set capstan.SetID, kept map[capstan.ArchiveNumber]capstan.Archive) error {
	if r.Consolidates != "" || len(kept) == 0 {
		return nil
	}
	resumable := map[string]bool{}
	for _, source := range r.Sources {
		resumable[source.Name()] = !isSnapshot(source)
	}
	roots, err := r.Catalog.Children(ctx, set, "")
	if err != nil {
		return err
	}
	given := map[capstan.ArchiveNumber]bool{}
	for _, root := range roots {
		if resumable[root.Path] {
			continue
		}
		for entry, err := range r.Catalog.Walk(ctx, set, root.Path) {
			if err != nil {
				return err
			}
			given[entry.Archive] = true
			for _, part := range entry.Parts {
				given[part.Archive] = true
			}
		}
	}
	var numbers []capstan.ArchiveNumber
	var names []string
	for number := range given {
		if a, ok := kept[number]; ok {
			numbers, names = append(numbers, number), append(names, a.Name)
			delete(kept, number)
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	slices.Sort(numbers)
	r.Say("%d sealed archives hold parts of an earlier dump, or of what is no source any more: they are given up", len(numbers))
	if err := r.Catalog.DropArchive(ctx, set, numbers...); err != nil || r.Stage == nil {
		return err
	}
	return r.Stage.Remove(ctx, set, names...)
}
