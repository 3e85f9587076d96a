package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader takes one file apart and collects what is wrong in it.
type reader struct {
	path     string // for messages
	dir      string // absolute; relative paths in the file are meant from here
	file     *File
	defaults Job // what a job begins with
	problems Problems
	nodes    int // taken so far; an alias counts as often as it is used
}

// maxNodes bounds the work that a file can ask for by repeating aliases.
const maxNodes = 200_000

// parse gives the one document of the file; ok is false if there is none.
func (r *reader) parse(data []byte) (root value, ok bool) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return value{}, false // nothing, or comments only
	}
	if err == nil {
		err = decoder.Decode(&second)
		if err == nil {
			r.problems = append(r.problems, Problem{r.path, Position{second.Line, second.Column}, "a second document begins here; a configuration is one"})
			return value{}, false
		}
	}
	if !errors.Is(err, io.EOF) {
		r.problems = append(r.problems, syntaxProblem(r.path, err))
		return value{}, false
	}
	if len(document.Content) != 1 {
		return value{}, false
	}
	return r.value(document.Content[0], ""), true
}

// value is one node of the file, on its way into a field.
type value struct {
	r    *reader
	node *yaml.Node // never an alias
	name string     // where it stands, for messages: "jobs.files.level"; empty for the whole
}

// value follows aliases; it counts the node.
func (r *reader) value(node *yaml.Node, name string) value {
	r.nodes++
	for node.Kind == yaml.AliasNode && node.Alias != nil {
		node = node.Alias
	}
	v := value{r, node, name}
	if node.Style&yaml.TaggedStyle != 0 {
		v.wrong("tags such as %s have no use here", node.Tag)
	}
	return v
}

func (v value) position() Position { return Position{v.node.Line, v.node.Column} }

// wrong notes a problem at the value.
func (v value) wrong(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if v.name != "" {
		text = v.name + ": " + text
	}
	v.r.problems = append(v.r.problems, Problem{v.r.path, v.position(), text})
}

// tired reports, and notes once, that the file has too many nodes.
func (v value) tired() bool {
	if v.r.nodes == maxNodes+1 {
		v.r.nodes++
		v.wrong("with its aliases, the file has more than %d values", maxNodes)
	}
	return v.r.nodes > maxNodes
}

// null reports whether nothing stands behind the key.
func (v value) null() bool { return v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!null" }

func (v value) isMapping() bool { return v.node.Kind == yaml.MappingNode }

// is names what the value is, for messages.
func (v value) is() string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if v.null() {
			return "nothing"
		}
		return fmt.Sprintf("%q", shorten(v.node.Value))
	default:
		return "something else"
	}
}

// shorten keeps messages readable.
func shorten(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return text
}

// pair is a key of a mapping with its value.
type pair struct {
	key   string
	at    Position // of the key
	value value
}

// pairs gives the keys of a mapping with their values; a key that stands there
// twice is wrong. A value of null is an empty mapping.
func (v value) pairs() []pair {
	if v.null() {
		return nil
	}
	if !v.isMapping() {
		v.wrong("must be a mapping of keys to values; this is %s", v.is())
		return nil
	}
	var pairs []pair
	first := map[string]int{}
	for i := 0; i+1 < len(v.node.Content) && !v.tired(); i += 2 {
		key := v.r.value(v.node.Content[i], v.name)
		if key.node.Kind != yaml.ScalarNode || key.null() {
			key.wrong("a key must be a word; this is %s", key.is())
			continue
		}
		name := key.node.Value
		if line, twice := first[name]; twice {
			key.wrong("key %q stands here a second time; the first is in line %d", name, line)
			continue
		}
		first[name] = key.node.Line
		child := strings.TrimPrefix(v.name+"."+name, ".")
		pairs = append(pairs, pair{name, key.position(), v.r.value(v.node.Content[i+1], child)})
	}
	return pairs
}

// list gives the elements of a list; null is an empty one.
func (v value) list() []value {
	if v.null() {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		v.wrong("must be a list, such as [one, two]; this is %s", v.is())
		return nil
	}
	var values []value
	for _, node := range v.node.Content {
		if v.tired() {
			break
		}
		values = append(values, v.r.value(node, v.name))
	}
	return values
}

// key is one key of a mapping that is read into a T.
type key[T any] struct {
	name string
	read func(v value, into *T)
}

// fields reads a mapping by its table of keys, in the table's order. Whatever
// is not in the table is refused: a key that is not understood must not look as
// if it had an effect. It gives the positions of the keys that were there.
func fields[T any](v value, keys []key[T], into *T) map[string]Position {
	pairs := v.pairs()
	found := make(map[string]Position, len(pairs))
	for _, k := range keys {
		for _, p := range pairs {
			if p.key == k.name {
				found[p.key] = p.at
				k.read(p.value, into)
			}
		}
	}
	for _, p := range pairs {
		if _, known := found[p.key]; !known {
			v.unknown(p, names(keys))
		}
	}
	return found
}

func names[T any](keys []key[T]) []string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.name
	}
	return all
}

// unknown refuses a key, and helps to find the one that was meant.
func (v value) unknown(p pair, known []string) {
	text := fmt.Sprintf("unknown key %q", shorten(p.key))
	if v.name != "" {
		text += " in " + v.name
	}
	if near := nearest(p.key, known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	} else {
		known = slices.Sorted(slices.Values(known))
		text += "; known here: " + strings.Join(known, ", ")
	}
	v.r.problems = append(v.r.problems, Problem{v.r.path, p.at, text})
}
