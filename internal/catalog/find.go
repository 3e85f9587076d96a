package catalog

import (
	"context"
	"iter"
	"math"

	"capstan"
)

// FindQuery says what Find looks for.
type FindQuery struct {
	// Glob is matched against names when it has no slash, else against whole
	// paths: * any characters, ? one, [a-z] a class, \ quotes, ** any components.
	Glob string
	// Sets are searched in this order; nil: all complete and partial ones, newest first.
	Sets  []capstan.SetID
	Limit int // at most so many; 0: all
}

// Found is an entry that Find found.
type Found struct {
	Set   capstan.SetID
	Entry capstan.Entry
}

const findPage = 500

// Find yields the entries that a pattern matches, whatever their outcome, set by
// set; within a set by directory, in the order of the walk. A pattern that begins
// with a literal costs a look-up for each directory of a set, any other one reads
// every name. No lock is held between two entries.
//
// A malformed pattern is capstan.ErrUsage, an unknown set capstan.ErrNotFound.
func (c *Catalog) Find(ctx context.Context, query FindQuery) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		if err := c.find(ctx, query, yield); err != nil {
			yield(Found{}, c.failed(ctx, "find "+query.Glob, err))
		}
	}
}

func (c *Catalog) find(ctx context.Context, query FindQuery, yield func(Found, error) bool) error {
	pattern, err := parseGlob(query.Glob)
	if err != nil {
		return err
	}
	sets := query.Sets
	if sets == nil {
		rows, err := readSets(ctx, c.reads, sqlSets)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if finishedStatus(row.set.Status) {
				sets = append(sets, row.set.ID)
			}
		}
	}
	left := query.Limit
	if left <= 0 {
		left = math.MaxInt
	}
	for _, id := range sets {
		more := true
		v, err := c.view(ctx, id)
		if err == nil {
			more, err = v.search(ctx, pattern, func(entry capstan.Entry) bool {
				left--
				return yield(Found{Set: id, Entry: entry}, nil) && left > 0
			})
		}
		if isNotFound(err) && query.Sets == nil {
			continue // deleted meanwhile, and nobody asked for this very one
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// search yields what matches in one set; more is false when yield wants no more.
func (v *view) search(ctx context.Context, pattern *glob, yield func(capstan.Entry) bool) (more bool, err error) {
	if pattern.whole {
		return v.searchPaths(ctx, pattern, yield)
	}
	next, names := v.candidates(pattern), v.names()
	for after, end := (key{dir: -1}), false; !end; {
		keys, err := next(ctx, after)
		if err != nil {
			return false, err
		}
		if end = len(keys) < findPage; !end {
			after = keys[len(keys)-1]
		}
		for _, k := range keys {
			if !matchPart(pattern.parts[0], k.name) {
				continue
			}
			entry, found, err := names.entry(ctx, k)
			if err != nil {
				return false, err
			}
			if found && !yield(entry) {
				return false, nil
			}
		}
	}
	return true, v.still(ctx)
}

// candidates gives the function that reads the next page of keys among which
// the matches are.
func (v *view) candidates(pattern *glob) func(context.Context, key) ([]key, error) {
	part := pattern.parts[0]
	if start, whole := prefix(part); start != "" {
		if end := afterAll(start, whole); end != nil {
			return func(ctx context.Context, after key) ([]key, error) {
				return v.keys(ctx, sqlFindRange, v.no, after.dir, after.dir, []byte(after.name), after.dir, []byte(start), end, findPage)
			}
		}
	}
	if end := suffix(part); end != "" {
		return func(ctx context.Context, after key) ([]key, error) {
			return v.keys(ctx, sqlFindSuffix, v.no, after.dir, []byte(after.name), len(end)-1, len(end)-1, []byte(end), findPage)
		}
	}
	return func(ctx context.Context, after key) ([]key, error) {
		return v.keys(ctx, sqlFindAll, v.no, after.dir, []byte(after.name), findPage)
	}
}

// afterAll is the least name above all that are start (whole), or that begin
// with it; nil when there is none.
func afterAll(start string, whole bool) []byte {
	end := []byte(start)
	if whole {
		return append(end, 0)
	}
	for len(end) > 0 {
		if last := len(end) - 1; end[last] < math.MaxUint8 {
			end[last]++
			return end
		}
		end = end[:len(end)-1]
	}
	return nil
}

// searchPaths walks below the part of a pattern that stands for itself.
func (v *view) searchPaths(ctx context.Context, pattern *glob, yield func(capstan.Entry) bool) (more bool, err error) {
	root := ""
	for _, part := range pattern.parts[:len(pattern.parts)-1] {
		name, whole := prefix(part)
		if !whole {
			break
		}
		root = capstan.JoinPath(root, name)
	}
	for entry, err := range v.c.Walk(ctx, v.set, root) {
		if err != nil {
			if isNotFound(err) { // nothing of that name, unless the set itself is gone
				return true, v.still(ctx)
			}
			return false, err
		}
		if pattern.match(entry.Path) && !yield(entry) {
			return false, nil
		}
	}
	return true, nil
}
