package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Position is a place in a file; both count from 1, columns in characters. The
// zero value means the file as a whole.
type Position struct{ Line, Column int }

// Problem is one thing that is wrong in a file.
type Problem struct {
	Path string // of the file
	Position
	Text string
}

// Error gives "PATH:LINE:COLUMN: text", without what is not known.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Path)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
	}
	return b.String() + ": " + p.Text
}

// Problems is everything that is wrong in a file, in the order of the file.
type Problems []Problem

// Error gives one problem a line.
func (p Problems) Error() string { return strings.Join(p.Lines(), "\n") }

// maxShown bounds how many problems are told at once.
const maxShown = 20

// Lines gives one text for each problem, and at the end how many more there are.
func (p Problems) Lines() []string {
	lines := make([]string, 0, min(len(p), maxShown)+1)
	for _, problem := range p[:min(len(p), maxShown)] {
		lines = append(lines, problem.Error())
	}
	if more := len(p) - maxShown; more > 0 {
		lines = append(lines, fmt.Sprintf("%s: %d more problems", p[0].Path, more))
	}
	return lines
}

// sorted puts the problems into the order of the file, each once: what an alias
// repeats is wrong in one place.
func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(p)
}

// syntaxProblem makes a problem of an error of the YAML parser, which knows the
// line at best: "yaml: line 3: found …".
func syntaxProblem(path string, err error) Problem {
	match := regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`).FindStringSubmatch(err.Error())
	if match == nil {
		return Problem{Path: path, Text: err.Error()}
	}
	line, _ := strconv.Atoi(match[1]) // 0 where the parser does not say
	return Problem{Path: path, Position: Position{Line: line}, Text: "this is no YAML: " + match[2]}
}

// nearest gives the known word that a mistyped one was most likely meant to be;
// empty if none is near.
func nearest(word string, known []string) string {
	best, least := "", 3
	for _, candidate := range known {
		if d := distance(word, candidate); d < least && d < len(candidate) {
			best, least = candidate, d
		}
	}
	return best
}

// distance is how many letters must be put in, taken out or changed to make b of
// a (Levenshtein). It looks no further at words that differ much in length.
func distance(a, b string) int {
	if len(a)-len(b) > 3 || len(b)-len(a) > 3 {
		return len(a) + len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
