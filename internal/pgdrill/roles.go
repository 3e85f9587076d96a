package pgdrill

import (
	"maps"
	"slices"
	"strings"

	"capstan/internal/pgtoc"
)

// rolesOf are the roles that a dump names: owners, whom something is granted to, whom
// policies and settings are for.
func rolesOf(toc *pgtoc.Archive) []string {
	found := map[string]bool{}
	for i := range toc.Entries {
		e := &toc.Entries[i]
		found[e.Owner.Value] = true
		if before := wordsBefore(e); before != nil {
			namedRoles(e.Definition.Value, before, found)
		}
		if name, _, ok := strings.Cut(strings.TrimPrefix(e.Tag.Value, "USER MAPPING "), " SERVER "); ok && e.Desc.Value == "USER MAPPING" {
			found[name] = true
		}
	}
	for _, none := range []string{"", "public", "PUBLIC", "current_user", "session_user"} {
		delete(found, none)
	}
	maps.DeleteFunc(found, func(name string, _ bool) bool { return strings.HasPrefix(name, "pg_") }) // reserved: the server has them, or not
	return slices.Sorted(maps.Keys(found))
}

// wordsBefore are those that names of roles stand behind, in what pg_dump writes.
func wordsBefore(e *pgtoc.Entry) []string {
	switch e.Desc.Value {
	case "ACL", "DEFAULT ACL", "POLICY":
		return []string{"to", "from", "role", "authorization", "by"}
	case "DATABASE PROPERTIES": // where TO stands before values
		return []string{"role"}
	}
	return nil
}

// namedRoles adds the names that stand behind certain words, outside of brackets: one,
// or a list.
func namedRoles(sql string, before []string, found map[string]bool) {
	const (
		elsewhere = iota
		behind    // such a word, or a comma of the list
		listed    // behind a name
	)
	depth, at := 0, elsewhere
	for sql != "" {
		var word string
		var quoted bool
		word, quoted, sql = nextWord(sql)
		switch {
		case word == "" && !quoted:
		case !quoted && word == "(":
			depth++
		case !quoted && word == ")":
			depth--
		case depth > 0:
		case at == behind && (quoted || isName(word)):
			found[word], at = true, listed
		case !quoted && word == "," && at == listed:
			at = behind
		case !quoted && slices.Contains(before, strings.ToLower(word)):
			at = behind
		default:
			at = elsewhere
		}
	}
}

// nextWord cuts a word off: a name, a quoted one, a single character. A text in single
// quotes counts as nothing.
func nextWord(sql string) (word string, quoted bool, rest string) {
	switch first := sql[0]; {
	case first == '"':
		var b strings.Builder
		for rest = sql[1:]; ; {
			part, after, closed := strings.Cut(rest, `"`)
			b.WriteString(part)
			if rest, quoted = strings.CutPrefix(after, `"`); !closed || !quoted {
				return b.String(), true, after
			}
			b.WriteByte('"')
		}
	case first == '\'':
		_, rest, _ = strings.Cut(sql[1:], "'")
		return "", false, rest
	case isName(sql[:1]):
		end := strings.IndexFunc(sql, func(r rune) bool { return !isName(string(r)) })
		if end < 0 {
			end = len(sql)
		}
		return sql[:end], false, sql[end:]
	case first == ' ' || first == '\n' || first == '\t':
		return "", false, sql[1:]
	}
	return sql[:1], false, sql[1:]
}

// isName reports whether a word could be a name without quotes.
func isName(word string) bool {
	for _, r := range word {
		if r != '_' && r != '$' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r < 0x80 {
			return false
		}
	}
	return word != ""
}
