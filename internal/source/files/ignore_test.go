package files

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan"
)

func TestBadPatterns(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"[", "a[b", "[]", "[!]", `a\`, `[a\`, "[a-", "[[:none:]]", "[[:alpha:", "!", "/", "!/", "x/[a"} {
		_, err := parseRules([]string{"fine", pattern})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", pattern)) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	for _, pattern := range []string{"", " ", "#", "# [", "\r", "   \r"} {
		if rules, err := parseRules([]string{pattern}); err != nil || len(rules.list) != 0 {
			t.Errorf("%q: %v, %v", pattern, rules, err)
		}
	}
}

// The tree that patterns are tried on; git wants to see what is a directory.
var ignoreTree = []string{
	"a/", "a/a", "a/b/", "a/b/a", "a/b/b/", "a/b/b/a", "a/b/ab", "a/ab/", "a/ab/b", "a/x.o",
	"b", "ab/", "ab/a", "ab/b/", "ab/b/a", "abb/", "abb/x.o", "abb/a b", "x.o", "a b", "a b ", "a  ", "#a", "!a", `a\b`, "[a]", "*", "a*/", "a*/b",
	"ba", "bab", "bb/", "bb/a/", "bb/a/b", "B", "A/", "A/a", "0", "-", "]", "^", "é", "a\nb", "**/", "**/a", "a?",
}

var ignoreTable = []string{
	"a", "/a", "a/", "/a/", "b", "*", "/*", "*/", "**", "/**", "**/", "a/**", "**/a", "**/a/", "a/**/b", "a/**/a", "**/b/**", "***", "a/***", "a**", "/a**", "ab**/a",
	"ab**", "/ab**", "a/b**/a", "a**/a", "/a**/a", "a/*", "a/*/a", "*/a", "*/*/a", "?", "??", "/?", "a?", "a?b", `a\?`, `\*`, `a\*`, `a\*/b`, `\a`, `\#a`, "#a", `\!a`, "!a", "[ab]", "[!ab]", "[^ab]",
	"[a-b]b", "[]]", "[]a]", "[!]]", "[a-]", "[-a]", `[\]]`, `[\a-\b]`, "[[:upper:]]", "[[:alpha:][:digit:]]", "[[:punct:]]", "[[:space:]]", "a[[:space:]]b", "[z-a]", `\[a]`, "[[]a]", "a[/]b", "a/[!x]b",
	"a b", `a b\ `, "a b ", `a\ b`, `a\  `, `a\\b`, "x.o", "*.o", "/*.o", "a/*.o", "**/*.o", "a//", "//a", "a/b/", "a/b/a", "/a/b/b/a", "a/b/*", "b/a", "bb/a", "bb/**", "**/**/a", "a/**/**/b", `a/**\/b`, `**\/a`, "é", "[é]", "*\nb", "a*b", "*a*b*",
}

// git tells which paths the patterns ignore.
type git struct{ dir string }

func newGit(t *testing.T) git {
	t.Helper()
	dir := t.TempDir()
	for _, name := range ignoreTree {
		write(t, filepath.Join(dir, name)+suffixOf(name), "")
	}
	command := exec.CommandContext(t.Context(), "git", "init", "-q", dir)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("git init: %v %s", err, out)
	}
	return git{dir}
}

func (g git) ignored(t *testing.T, patterns []string) []string {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(g.dir, ".git/info/exclude"), []byte(strings.Join(patterns, "\n")+"\n"), 0o644))
	command := exec.CommandContext(t.Context(), "git", "-c", "core.excludesFile=/dev/null", "-c", "core.ignoreCase=false", "check-ignore", "--no-index", "-z", "--stdin")
	command.Dir = g.dir
	var paths bytes.Buffer
	for _, name := range ignoreTree {
		paths.WriteString(strings.TrimSuffix(name, "/") + "\x00")
	}
	command.Stdin = &paths
	out, err := command.Output()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("git check-ignore: %v", err)
	}
	list := strings.Split(string(out), "\x00")
	list = list[:len(list)-1]
	slices.Sort(list)
	return list
}

// ignored does what the walk does: it does not look below an excluded directory.
func ignored(rules *rules) []string {
	var list []string
	for _, name := range ignoreTree {
		path := strings.TrimSuffix(name, "/")
		for i := range len(path) + 1 {
			if i < len(path) && path[i] != '/' {
				continue
			}
			if _, excluded := rules.match(path[:i], i < len(path) || path != name); excluded {
				list = append(list, path)
				break
			}
		}
	}
	slices.Sort(list)
	return list
}

func TestPatternsLikeGit(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	compared := 0
	compare := func(patterns ...string) {
		t.Helper()
		rules, err := parseRules(patterns)
		if err != nil {
			if theirs := g.ignored(t, patterns[:1]); len(patterns) == 1 && len(theirs) > 0 {
				t.Errorf("%q: refused, but matches %q", patterns, theirs)
			}
			return
		}
		compared++
		if ours, theirs := ignored(rules), g.ignored(t, patterns); !slices.Equal(ours, theirs) {
			t.Errorf("%q:\nours   %q\ntheirs %q", patterns, ours, theirs)
		}
	}
	for _, pattern := range ignoreTable {
		if strings.Contains(pattern, "\n") {
			continue // a line break ends a pattern in git's file
		}
		compare(pattern)
		compare("*", "!"+pattern)
	}
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "b", "ab", "*", "**", "?", "/", "/", "/", "[ab]", "[!a]", "[a-b]", "!", `\`, " ", "x.o", "**/", "/**", "#", `\*`}
	for range 400 {
		patterns := make([]string, 1+random.IntN(3))
		for i := range patterns {
			for range 1 + random.IntN(6) {
				patterns[i] += pieces[random.IntN(len(pieces))]
			}
		}
		compare(patterns...)
	}
	if compared < 400 {
		t.Errorf("only %d sets of patterns were compared", compared)
	}
}

// FuzzPatterns looks for patterns that do not come to an end, and for ones whose
// match differs from that of a plain backtracking matcher.
func FuzzPatterns(f *testing.F) {
	for i, pattern := range ignoreTable {
		f.Add(pattern, strings.TrimSuffix(ignoreTree[i%len(ignoreTree)], "/"))
	}
	f.Add("*a*a*a*a*a*a*a*b", strings.Repeat("a", 40))
	f.Add("**/a/**/a/**/a/**/b", strings.Repeat("a/", 40)+"c")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		rules, err := parseRules([]string{pattern})
		if err != nil || len(rules.list) == 0 || len(pattern) > 24 || len(path) > 24 {
			return
		}
		r := rules.list[0]
		_, name := capstan.SplitPath(path)
		text := name
		if r.anchored {
			text = path
		}
		rest, ok := strings.CutPrefix(text, r.prefix)
		want := ok && plainMatch(r.glob, rest)
		if matched, _ := rules.match(path, true); (matched != "") != want {
			t.Errorf("%q on %q: matched %q, want %v", pattern, path, matched, want)
		}
	})
}

func plainMatch(globs []glob, text string) bool {
	if len(globs) == 0 {
		return text == ""
	}
	g, rest := globs[0], globs[1:]
	switch g.kind {
	case globStar, globAll:
		for i := range len(text) + 1 {
			if plainMatch(rest, text[i:]) {
				return true
			}
			if i < len(text) && text[i] == '/' && g.kind == globStar {
				return false
			}
		}
		return false
	case globDirs:
		if plainMatch(rest, text) {
			return true
		}
		for i := range len(text) {
			if text[i] == '/' && plainMatch(rest, text[i+1:]) {
				return true
			}
		}
		return false
	case globByte, globAny, globSet:
	}
	return text != "" && g.takes(text[0]) && plainMatch(rest, text[1:])
}
