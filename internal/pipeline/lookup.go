package pipeline

import (
	"context"
	"maps"
	"slices"
	"strings"

	"capstan"
)

// hides reports whether an entry of a set takes all that older sets hold below
// its path out of view: all do but directories that the set holds. A directory
// that was excluded or could not be read shows nothing of what it held before,
// since the view is that of the run.
func hides(e *capstan.Entry) bool {
	return e.Outcome != 0 && (e.Kind != capstan.KindDir || !e.Outcome.Held())
}

// hiddenBelow gives the place in the chain of the oldest set that may show
// something below the path: older ones are hidden by a deletion or replacement of
// a directory above it.
func (v *View) hiddenBelow(ctx context.Context, path string) (oldest int, err error) {
	for age := len(v.Chain) - 1; age > 0; age-- {
		for above := range ancestors(path) {
			entry, found, err := v.engine.Catalog.Entry(ctx, v.Chain[age].ID, above)
			if err != nil {
				return 0, err
			}
			if found && hides(&entry) {
				return age, nil
			}
		}
	}
	return 0, nil
}

// ancestors yields the directories above a path, the topmost first.
func ancestors(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i, c := range []byte(path) {
			if c == '/' && !yield(path[:i]) {
				return
			}
		}
	}
}

// Entry gives what the set shows under a path, whatever its outcome.
func (v *View) Entry(ctx context.Context, path string) (entry Held, found bool, err error) {
	path = strings.Trim(path, "/")
	oldest, err := v.hiddenBelow(ctx, path)
	if err != nil {
		return Held{}, false, err
	}
	for _, set := range slices.Backward(v.Chain[oldest:]) {
		e, found, err := v.engine.Catalog.Entry(ctx, set.ID, path)
		if err != nil {
			return Held{}, false, err
		}
		if found && e.Outcome != 0 {
			return Held{Set: set.ID, Entry: e}, e.Outcome != capstan.OutcomeDeleted, nil
		}
	}
	return Held{}, false, nil
}

// Children gives what the set shows directly within a directory, by name; nothing
// for one that is not there. The directory's content is held in memory.
func (v *View) Children(ctx context.Context, dir string) ([]Held, error) {
	oldest, err := v.hiddenBelow(ctx, dir)
	if err != nil {
		return nil, err
	}
	byName := map[string]Held{}
	for _, set := range slices.Backward(v.Chain[oldest:]) {
		entries, err := v.engine.Catalog.Children(ctx, set.ID, dir)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if _, newer := byName[entry.Path]; !newer && entry.Outcome != 0 {
				byName[entry.Path] = Held{Set: set.ID, Entry: entry}
			}
		}
		if dir == "" {
			continue
		}
		own, found, err := v.engine.Catalog.Entry(ctx, set.ID, dir)
		if err != nil {
			return nil, err
		}
		if found && hides(&own) {
			break
		}
	}
	maps.DeleteFunc(byName, func(_ string, e Held) bool { return e.Outcome == capstan.OutcomeDeleted })
	return slices.SortedFunc(maps.Values(byName), func(a, b Held) int { return strings.Compare(a.Path, b.Path) }), nil
}
