package files

import (
	"errors"
	"fmt"
	"strings"
)

// rules are exclude patterns with the meaning of gitignore(5), for one root.
type rules struct {
	list []rule
}

type rule struct {
	text     string // as the user wrote it
	negate   bool   // "!": what matches is kept
	dirsOnly bool   // trailing slash
	anchored bool   // matches the whole path, not the last component
	prefix   string // literal bytes before the first wildcard
	glob     []glob // the rest
}

// parseRules compiles patterns; blank ones and comments are skipped. The error
// names the pattern that can never match.
func parseRules(patterns []string) (*rules, error) {
	all := &rules{}
	for _, text := range patterns {
		line := trimSpaces(strings.TrimSuffix(text, "\r"))
		if line == "" || line[0] == '#' {
			continue
		}
		parsed, err := parseRule(line)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", text, err)
		}
		parsed.text = line
		all.list = append(all.list, parsed)
	}
	return all, nil
}

func parseRule(line string) (rule, error) {
	var r rule
	line, r.negate = strings.CutPrefix(line, "!")
	line, r.dirsOnly = strings.CutSuffix(line, "/")
	r.anchored = strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if line == "" {
		return r, errors.New("it names nothing")
	}
	// Everything before the first wildcard is compared as it stands, and "**"
	// right after it counts as standing at a component's start, as in git.
	rest := line
	if i := strings.IndexAny(line, `*?[\`); i >= 0 {
		r.prefix, rest = line[:i], line[i:]
	} else {
		r.prefix, rest = line, ""
	}
	var err error
	r.glob, err = parseGlob(rest, r.anchored)
	return r, err
}

// trimSpaces cuts trailing spaces that no backslash protects.
func trimSpaces(line string) string {
	end := 0
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			continue
		case '\\':
			i++
		}
		end = min(i+1, len(line))
	}
	return line[:end]
}

// match tells whether the entry at path (relative to the root) is excluded, and
// by which pattern. Whether a directory above it is excluded is not considered:
// the walk does not descend into one, so nothing below can be kept.
func (rs *rules) match(path string, isDir bool) (pattern string, excluded bool) {
	if len(rs.list) == 0 {
		return "", false
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	for i := len(rs.list) - 1; i >= 0; i-- {
		r := &rs.list[i]
		if r.dirsOnly && !isDir {
			continue
		}
		text := name
		if r.anchored {
			text = path
		}
		if rest, ok := strings.CutPrefix(text, r.prefix); ok && matchGlob(r.glob, rest) {
			return r.text, !r.negate
		}
	}
	return "", false
}
