package manifest

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"capstan"
)

// Guide writes RESTORE.txt: plain words, and the stock commands that restore
// this very set. One goroutine uses it.
type Guide struct {
	Set      capstan.Set
	Archives []capstan.Archive // by number
	// Chain are the sets that an incremental one builds on, oldest first; they
	// are restored before it.
	Chain   []capstan.SetID
	Deleted bool // there is a DELETED; See finds out too

	split map[string]*splitFile
	order []*splitFile
}

// splitFile is a file that is stored in parts.
type splitFile struct {
	path  string
	parts int
	links []string // its other names, which can be made only when it is whole
}

// See takes note of an entry that needs words of its own. It is called with
// every entry, in order; it keeps memory for split files alone.
func (g *Guide) See(e *capstan.Entry) {
	switch {
	case e.Outcome == capstan.OutcomeDeleted:
		g.Deleted = true
	case !e.Outcome.Held():
	case len(e.Parts) > 0 && e.Kind == capstan.KindFile:
		file := &splitFile{path: e.Path, parts: len(e.Parts)}
		if g.split == nil {
			g.split = map[string]*splitFile{}
		}
		g.split[e.Path] = file
		g.order = append(g.order, file)
	case e.Kind == capstan.KindHardlink && g.split[e.Link] != nil:
		file := g.split[e.Link]
		file.links = append(file.links, e.Path)
	}
}

// Write writes the text. Lines that are indented by four spaces are commands;
// in their order they are one shell script.
func (g *Guide) Write(w io.Writer) error {
	for _, a := range g.Archives {
		if !plainName(a.Name) {
			return fmt.Errorf("archive name %q cannot stand in a command", a.Name)
		}
	}
	text, err := template.New(GuideName).Funcs(template.FuncMap{
		"next": func(i int) int { return i + 1 },
	}).Parse(guideTemplate)
	if err != nil {
		return err
	}
	return text.Execute(w, g.view())
}

// guideView is what the template shows.
type guideView struct {
	Set      capstan.Set
	Written  string
	Sources  []string
	Archives []capstan.Archive
	Chain    []capstan.SetID
	Deleted  bool
	Split    []splitView
	TarFlag  string // for the codec; empty when archives differ
	Cat      string // command that unpacks all archives in turn; empty when they differ
}

type splitView struct {
	File        string // shell words that set f
	First, Last string // endings of the part names
	Rest        []string
	Links       []string // shell words that set l
}

func (g *Guide) view() guideView {
	v := guideView{Set: g.Set, Archives: g.Archives, Chain: g.Chain, Deleted: g.Deleted}
	v.Written = g.Set.Started.UTC().Format(time.RFC3339)
	for _, source := range g.Set.Sources {
		v.Sources = append(v.Sources, printable(source))
	}
	v.Set.Host, v.Set.Job = printable(v.Set.Host), capstan.JobKey(printable(string(v.Set.Job)))
	differ := slices.ContainsFunc(g.Archives, func(a capstan.Archive) bool { return a.Codec != g.Archives[0].Codec })
	if len(g.Archives) > 0 && !differ {
		switch g.Archives[0].Codec {
		case capstan.CodecZstd:
			v.TarFlag, v.Cat = " --zstd", "zstd -dcq"
		case capstan.CodecGzip:
			v.TarFlag, v.Cat = " --gzip", "gzip -dc"
		case capstan.CodecNone:
			v.Cat = "cat"
		}
	}
	for _, file := range g.order {
		s := splitView{File: setVariable("f", file.path), First: partEnding(1), Last: partEnding(file.parts)}
		for i := 2; i <= file.parts; i++ {
			s.Rest = append(s.Rest, partEnding(i))
		}
		for _, link := range file.links {
			s.Links = append(s.Links, setVariable("l", link))
		}
		v.Split = append(v.Split, s)
	}
	return v
}

// partEnding is what the name of a part has behind that of the file.
func partEnding(i int) string { return fmt.Sprintf(".capstan-part-%04d", i) }

// plainName lets through names that a shell takes as they are.
func plainName(name string) bool {
	return name != "" && name[0] != '-' && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

// printable gives a text for people that keeps to its line.
func printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// setVariable gives POSIX shell words that set a variable to "./" and a path,
// whatever bytes it has. What does not print is written as octal escapes of
// printf; the trailing dot keeps newlines at the end, which $(…) would drop.
func setVariable(name, path string) string {
	path = "./" + path
	if utf8.ValidString(path) && !strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return name + "='" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString(name + "=$(printf '")
	for i := range len(path) {
		switch c := path[i]; {
		case c == '%':
			b.WriteString("%%")
		case c < ' ' || c >= 0x7f || c == '\\' || c == '\'':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteString(".') && " + name + "=${" + name + "%.}")
	return b.String()
}
