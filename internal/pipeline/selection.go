package pipeline

import (
	"context"
	"iter"
	"path"
	"slices"
	"strings"

	"capstan"
)

// selection is the part of a set that a restore wants: everything, or what
// patterns name. A pattern is a path within the set, which stands for itself and
// all below it, or a glob with * ? [] in which ** crosses directories.
type selection struct {
	patterns []string
	found    []bool
}

func newSelection(patterns []string) (*selection, error) {
	s := &selection{found: make([]bool, len(patterns))}
	for _, pattern := range patterns {
		clean := strings.Trim(path.Clean(strings.TrimSuffix(pattern, "/")), "/")
		if clean == "." || clean == ".." || strings.HasPrefix(clean, "../") {
			return nil, &capstan.Error{Class: capstan.ErrUsage, Op: "path", Object: pattern, Err: errNotInSet}
		}
		s.patterns = append(s.patterns, clean)
	}
	return s, nil
}

// all reports whether nothing is left out.
func (s *selection) all() bool { return len(s.patterns) == 0 }

// matches reports whether the entry at the path is wanted, and notes which
// patterns found something.
func (s *selection) matches(name string) bool {
	wanted := s.all()
	for i, pattern := range s.patterns {
		if matchTree(pattern, name) {
			s.found[i], wanted = true, true
		}
	}
	return wanted
}

// wants is matches without a note; it may be called by several goroutines.
func (s *selection) wants(name string) bool {
	return s.all() || slices.ContainsFunc(s.patterns, func(pattern string) bool { return matchTree(pattern, name) })
}

// missing lists the patterns that found nothing.
func (s *selection) missing() []string {
	var missing []string
	for i, found := range s.found {
		if !found {
			missing = append(missing, s.patterns[i])
		}
	}
	return missing
}

// matchTree reports whether the pattern matches the path or one of the
// directories above it.
func matchTree(pattern, name string) bool {
	if pattern == name || capstan.Within(name, pattern) {
		return true
	}
	if _, err := path.Match(pattern, ""); err != nil || !strings.ContainsAny(pattern, `*?[\`) {
		return false // an odd name, which stands for itself only
	}
	return matchComponents(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

// matchComponents matches component by component; a path that goes on after the
// pattern ended lies below a match.
func matchComponents(pattern, name []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for skip := range len(name) + 1 {
				if matchComponents(pattern[1:], name[skip:]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], name[0]); err != nil || !ok {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return true
}

// selected walks the view in path order and yields the wanted entries that can
// be restored, each directory above a wanted entry before it. Memory: the
// directories above one entry.
func (v *View) selected(ctx context.Context, want *selection) iter.Seq2[Held, error] {
	if roots, ok := want.roots(); ok {
		return v.below(ctx, roots, want)
	}
	return func(yield func(Held, error) bool) {
		var above []Held // ancestors of the current entry that were not yielded yet
		for entry, err := range v.Walk(ctx, "") {
			if err != nil {
				yield(Held{}, err)
				return
			}
			for len(above) > 0 && !capstan.Within(entry.Path, above[len(above)-1].Path) {
				above = above[:len(above)-1]
			}
			if !entry.Outcome.Held() {
				continue
			}
			if !want.matches(entry.Path) {
				if entry.Kind == capstan.KindDir {
					above = append(above, entry)
				}
				continue
			}
			for _, dir := range above {
				if !yield(dir, nil) {
					return
				}
			}
			above = above[:0]
			if !yield(entry, nil) {
				return
			}
		}
	}
}

// roots gives the wanted paths in path order, none within another, if no pattern
// is a glob: a restore of one file then need not look at the whole set.
func (s *selection) roots() (roots []string, ok bool) {
	if s.all() || slices.ContainsFunc(s.patterns, func(p string) bool { return strings.ContainsAny(p, `*?[\`) }) {
		return nil, false
	}
	for _, pattern := range slices.SortedFunc(slices.Values(s.patterns), capstan.ComparePaths) {
		if len(roots) == 0 || !capstan.Within(pattern, roots[len(roots)-1]) {
			roots = append(roots, pattern)
		}
	}
	return roots, true
}

// below yields what the set holds at and below the roots, each directory above
// them before it, once.
func (v *View) below(ctx context.Context, roots []string, want *selection) iter.Seq2[Held, error] {
	return func(yield func(Held, error) bool) {
		last := ""
		for _, root := range roots {
			first := true
			for entry, err := range v.Walk(ctx, root) {
				if err != nil {
					yield(Held{}, err)
					return
				}
				if !entry.Outcome.Held() || !want.matches(entry.Path) {
					continue
				}
				if first {
					for above := range ancestors(root) {
						if last != "" && capstan.Within(last, above) {
							continue
						}
						dir, found, err := v.Entry(ctx, above)
						if err != nil || found && dir.Outcome.Held() && !yield(dir, nil) {
							if err != nil {
								yield(Held{}, err)
							}
							return
						}
					}
					first, last = false, root
				}
				if !yield(entry, nil) {
					return
				}
			}
		}
	}
}
