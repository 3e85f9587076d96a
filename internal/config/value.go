package config

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"capstan"
)

// text reads a text. Numbers and dates are texts too, as they stand; true, false
// and null are not, since they are more likely a mistake than a name.
func (v value) text() (string, bool) {
	if v.node.Kind != yaml.ScalarNode || v.node.Tag == "!!null" || v.node.Tag == "!!bool" {
		v.wrong("must be a text; this is %s (put it in quotes if it is one)", v.is())
		return "", false
	}
	if strings.ContainsRune(v.node.Value, 0) {
		v.wrong("must not hold a NUL character")
		return "", false
	}
	if v.node.Value == "" {
		v.wrong("must not be empty")
		return "", false
	}
	return v.node.Value, true
}

// texts reads a list of texts.
func (v value) texts() []string {
	var all []string
	for _, element := range v.list() {
		if text, ok := element.text(); ok {
			all = append(all, text)
		}
	}
	return all
}

// scheme is how a place begins that is no path: "s3://", "tape:". One letter
// would be a drive of Windows.
var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]+:`)

// place reads a path, which is meant from the file's directory, or a URL, which
// is left as it stands.
func (v value) place() (string, bool) {
	text, ok := v.text()
	if !ok {
		return "", false
	}
	if scheme.MatchString(text) || keywords.MatchString(text) {
		return text, true
	}
	return v.absolute(text)
}

// path reads a path, which is meant from the file's directory.
func (v value) path() (string, bool) {
	text, ok := v.text()
	if !ok {
		return "", false
	}
	return v.absolute(text)
}

func (v value) absolute(path string) (string, bool) {
	if path == "~" || strings.HasPrefix(path, "~/") {
		v.wrong("~ is not replaced here; write the whole path instead of %q", shorten(path))
		return "", false
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path), true
	}
	return filepath.Join(v.r.dir, path), true
}

// recipient reads one to whom a backup is encrypted: a public key, the word
// passphrase, or the path of a file with keys, which is written with a slash or a dot.
func (v value) recipient() (string, bool) {
	text, ok := v.text()
	if ok && strings.ContainsAny(text, `./\`) {
		return v.absolute(text)
	}
	return text, ok
}

// places and paths read lists.
func (v value) places() []string { return v.each(value.place) }
func (v value) paths() []string  { return v.each(value.path) }

func (v value) each(read func(value) (string, bool)) []string {
	var all []string
	for _, element := range v.list() {
		if text, ok := read(element); ok {
			all = append(all, text)
		}
	}
	return all
}

// truth reads true or false.
func (v value) truth() bool {
	if v.node.Kind != yaml.ScalarNode || v.node.Tag != "!!bool" {
		v.wrong("must be true or false; this is %s", v.is())
		return false
	}
	return strings.EqualFold(v.node.Value, "true")
}

// whole reads a whole number.
func (v value) whole() (int, bool) {
	n, err := strconv.Atoi(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || err != nil {
		v.wrong("must be a whole number; this is %s", v.is())
		return 0, false
	}
	return n, true
}

// size reads a number of bytes of at least least.
func (v value) size(least capstan.Bytes) capstan.Bytes {
	n, err := capstan.ParseBytes(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || err != nil {
		v.wrong("must be a size, such as 512MiB or 4GiB; this is %s", v.is())
		return 0
	}
	if n < least {
		v.wrong("%s is too little; give at least %s", v.node.Value, least)
		return 0
	}
	return n
}

// duration reads a time span of at least least.
func (v value) duration(least time.Duration) (time.Duration, bool) {
	d, err := time.ParseDuration(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || err != nil {
		v.wrong("must be a time span, such as 90s, 10m or 2h30m; this is %s", v.is())
		return 0, false
	}
	if d < least {
		v.wrong("%s is too short; give at least %s", v.node.Value, least)
		return 0, false
	}
	return d, true
}

// choice reads one of several words.
func choice[W ~string](v value, words ...W) W {
	for _, word := range words {
		if v.node.Kind == yaml.ScalarNode && v.node.Value == string(word) {
			return word
		}
	}
	all := make([]string, len(words))
	for i, word := range words {
		all[i] = string(word)
	}
	v.wrong("must be %s or %s; this is %s", strings.Join(all[:len(all)-1], ", "), all[len(all)-1], v.is())
	return words[0]
}
