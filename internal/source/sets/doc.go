// Package sets reads the tree that a set shows, with all that the set builds on, as a
// capstan.Source: nothing is asked of where the tree once came from.
//
// # Use
//
// New makes the source of one of the tree's first names; Scan emits what the walk
// yields, in the walk's order:
//
//	library := sets.NewLibrary(open, memory, workers)
//	defer library.Close()
//	source := sets.New("data", sets.Options{Set: id, Walk: view.Walk, Library: library, ...})
//	err := source.Scan(ctx, baseline, emit)
//
// # Order of reading
//
// Each set of a chain holds its entries in the order of the walk, so the walk merges
// them, and every archive is read upwards, once. A batch of entries is read at a
// time, while the one before is emitted: archive after archive, frame after frame, by
// several goroutines. Frames that are not passed yet are kept for the next batch, as
// far as memory goes; beyond, one is decoded again for each batch that needs it.
//
// # Outcomes
//
// An entry that the walk shows as held is emitted as stored (or changed, if it changed
// while it was read from its own source), once its content was compared with its hash;
// content of more than a few hundred kilobytes travels open, and fails at its end. What
// is damaged is emitted as failed, with the reason. All other outcomes stay as they
// are. An archive that cannot be opened at all ends the scan: its volume may come back.
//
// # Blocking
//
// Scan and the contents that it emitted block on the archives' files, and declare it.
// They end with the context as soon as such a call returns.
package sets
