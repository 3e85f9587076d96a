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
	"capstan/internal/tarfile"
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
	long  int // paths that tar cannot make
}

// pathMax is where Linux refuses a path that is given to one system call
// (path_resolution(7)), as tar does.
const pathMax = 4096

// splitFile is a file that is stored in parts.
type splitFile struct {
	path   string
	sparse bool
	size   int64
	starts []int64  // of the parts within the file
	links  []string // its other names, which can be made only when it is whole
}

// See takes note of an entry that needs words of its own. It is called with
// every entry, in order; it keeps memory for split files alone.
func (g *Guide) See(e *capstan.Entry) {
	if e.Outcome.Held() && (len(e.Path) >= pathMax || len(e.Parts) > 0 && len(tarfile.PartName(e.Path, len(e.Parts))) >= pathMax) {
		g.long++
	}
	switch {
	case e.Outcome == capstan.OutcomeDeleted:
		g.Deleted = true
	case !e.Outcome.Held():
	case len(e.Parts) > 0 && e.Kind == capstan.KindFile:
		file := &splitFile{path: e.Path, sparse: e.Sparse, size: e.Size}
		for _, part := range e.Parts {
			file.starts = append(file.starts, part.Start)
		}
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
	return g.execute(w, guideTemplate)
}

// WriteClear writes the RESTORE.txt that stands beside an encrypted one: to whom
// the set is encrypted, and how the whole guide is opened.
func (g *Guide) WriteClear(w io.Writer) error { return g.execute(w, clearTemplate) }

func (g *Guide) execute(w io.Writer, source string) error {
	text, err := template.New(GuideName).Funcs(template.FuncMap{
		"next": func(i int) int { return i + 1 },
	}).Parse(source)
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
	Later    []string // shell words that set l, for the links that tar shall leave out
	Unsaid   bool     // there are links to split files that tar stumbles on
	Long     int
	// Encrypted: the set is; Passphrase: with one; PostQuantum: to a key of that kind.
	Encrypted, Passphrase, PostQuantum bool
	TarFlag                            string // for the codec; empty when archives differ
	Cat                                string // command that unpacks all archives in turn; empty when they differ
}

type splitView struct {
	File, Stem  string // shell words that set f, and p to the stem of the parts' names
	InDir       bool   // not at the top
	Sparse      bool
	Size        int64
	First, Last string // endings of the part names
	Rest        []partView
	Links       []linkView
}

type partView struct {
	Ending string
	Start  int64
}

type linkView struct {
	Set   string // shell words that set l
	InDir bool
}

// maxLater bounds the words that tell tar what to leave out: all of them are its
// arguments, for which POSIX systems have some hundred kilobytes at least.
const maxLater = 64 << 10

func (g *Guide) view() guideView {
	v := guideView{Set: g.Set, Archives: g.Archives, Chain: g.Chain, Deleted: g.Deleted, Long: g.long}
	v.Written = g.Set.Started.UTC().Format(time.RFC3339)
	for _, recipient := range g.Set.Recipients {
		v.Encrypted = true
		v.Passphrase = v.Passphrase || recipient == "passphrase"
		v.PostQuantum = v.PostQuantum || strings.HasPrefix(recipient, "age1pq1")
	}
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
	later := 0
	for _, file := range g.order {
		v.Split = append(v.Split, file.view())
		for _, link := range file.links {
			if later += len(link) + len(" --exclude="); later > maxLater {
				v.Unsaid = true
				break
			}
			v.Later = append(v.Later, setVariable("l", link))
		}
	}
	return v
}

func (f *splitFile) view() splitView {
	s := splitView{
		File: setVariable("f", f.path), Stem: "p=$f", InDir: strings.Contains(f.path, "/"), Sparse: f.sparse, Size: f.size,
		First: tarfile.PartEnding(1), Last: tarfile.PartEnding(len(f.starts)),
	}
	if stem := tarfile.PartStem(f.path); stem != f.path {
		s.Stem = setVariable("p", stem)
	}
	for i := 1; i < len(f.starts); i++ {
		s.Rest = append(s.Rest, partView{tarfile.PartEnding(i + 1), f.starts[i]})
	}
	for _, link := range f.links {
		s.Links = append(s.Links, linkView{setVariable("l", link), strings.Contains(link, "/")})
	}
	return s
}

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
