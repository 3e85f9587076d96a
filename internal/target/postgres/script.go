package postgres

import (
	"bytes"
	"fmt"
	"strings"

	"capstan"
)

// script is what pg_dumpall --globals-only writes, taken apart. Its statements stay as
// they are.
type script struct {
	settings    []string // of the session
	roles       []*global
	grants      []*global // memberships, and rights on parameters
	tablespaces []*global
}

// global is something of the server, with the statements that make it.
type global struct {
	name   string // not quoted; of a grant what it says, without who granted it
	create string
	rest   []string // what is set, granted and said of it
}

// scriptEnd is the last line of what pg_dumpall writes: a file without it was cut.
const scriptEnd = "-- PostgreSQL database cluster dump complete"

// parseScript takes a script apart. One that is not whole is capstan.ErrDamaged.
func parseScript(content []byte) (*script, error) {
	if !bytes.Contains(content, []byte(scriptEnd)) {
		return nil, fmt.Errorf("it does not end as pg_dumpall ends it: %w", capstan.ErrDamaged)
	}
	s := &script{}
	for text := string(content); ; {
		var statement string
		statement, text = nextStatement(text)
		if statement == "" {
			return s, nil
		}
		s.add(statement)
	}
}

// add puts a statement where it belongs.
func (s *script) add(statement string) {
	w := words(statement)
	is := func(from int, expected ...string) bool {
		for i, word := range expected {
			if from+i >= len(w) || !strings.EqualFold(w[from+i], word) {
				return false
			}
		}
		return true
	}
	// "… ON TABLESPACE name …", of rights and comments
	kind := 0
	for i := range w {
		if i > 0 && (is(i, "ON", "TABLESPACE") || is(i, "ON", "ROLE")) && i+2 < len(w) {
			kind = i + 1
			break
		}
	}
	switch {
	case is(0, "SET"), is(0, "SELECT"):
		s.settings = append(s.settings, statement)
	case is(0, "CREATE", "ROLE") && len(w) > 2:
		s.roles = append(s.roles, &global{name: unquoted(w[2]), create: statement})
	case is(0, "CREATE", "TABLESPACE") && len(w) > 2:
		s.tablespaces = append(s.tablespaces, &global{name: unquoted(w[2]), create: statement})
	case is(0, "ALTER", "ROLE") && len(w) > 2:
		s.roles = more(s.roles, unquoted(w[2]), statement)
	case is(0, "ALTER", "TABLESPACE") && len(w) > 2:
		s.tablespaces = more(s.tablespaces, unquoted(w[2]), statement)
	case kind > 0 && is(kind, "TABLESPACE"):
		s.tablespaces = more(s.tablespaces, unquoted(w[kind+1]), statement)
	case kind > 0:
		s.roles = more(s.roles, unquoted(w[kind+1]), statement)
	default:
		name, _ := cutGrantor(statement)
		s.grants = append(s.grants, &global{name: name, create: statement})
	}
}

// more adds a statement to what was made before, or to something that is there anyway.
func more(all []*global, name, statement string) []*global {
	for _, g := range all {
		if g.name == name {
			g.rest = append(g.rest, statement)
			return all
		}
	}
	return append(all, &global{name: name, rest: []string{statement}})
}

// nextStatement cuts a statement off, without its semicolon; it is empty at the end.
// Comments, and what is for psql alone (\restrict), are left out.
func nextStatement(text string) (statement, rest string) {
	var b strings.Builder
	for text != "" {
		if strings.TrimSpace(b.String()) == "" {
			text = strings.TrimLeft(text, " \t\r\n")
			b.Reset()
		}
		if strings.HasPrefix(text, "--") || strings.HasPrefix(text, `\`) {
			_, text, _ = strings.Cut(text, "\n")
			continue
		}
		if text == "" {
			break
		}
		var word string
		if word, text = lexeme(text); word == ";" {
			return strings.TrimSpace(b.String()), text
		}
		b.WriteString(word)
	}
	return strings.TrimSpace(b.String()), ""
}

// lexeme is token, for texts with escapes (E'…') too.
func lexeme(sql string) (word, rest string) {
	if len(sql) < 2 || sql[0] != 'E' || sql[1] != '\'' {
		return token(sql)
	}
	end := 2
	for end < len(sql) {
		end++
		if sql[end-1] == '\\' && end < len(sql) {
			end++
			continue
		}
		if sql[end-1] == '\'' {
			if end == len(sql) || sql[end] != '\'' {
				break
			}
			end++ // a doubled quote is one within
		}
	}
	return sql[:end], sql[end:]
}

// words are those of a statement, without the space between them.
func words(statement string) (all []string) {
	for statement != "" {
		var word string
		if word, statement = lexeme(statement); strings.TrimSpace(word) != "" {
			all = append(all, word)
		}
	}
	return all
}

// unquoted is the name that a word of a statement means, as pg_dumpall writes them.
func unquoted(word string) string {
	if strings.HasPrefix(word, `"`) {
		return strings.ReplaceAll(strings.TrimSuffix(word[1:], `"`), `""`, `"`)
	}
	return word
}

// cutGrantor takes GRANTED BY off the end of a grant.
func cutGrantor(statement string) (rest string, had bool) {
	for i := 0; i < len(statement); {
		word, after := lexeme(statement[i:])
		if word == "GRANTED" {
			return strings.TrimSpace(statement[:i]), true
		}
		i = len(statement) - len(after)
	}
	return statement, false
}

// withoutDefaults leaves out of ALTER ROLE what a new role is anyway, and only a
// superuser may say.
func withoutDefaults(statement string) string {
	var b strings.Builder
	for statement != "" {
		var word string
		word, statement = lexeme(statement)
		switch word {
		case "NOSUPERUSER", "NOREPLICATION", "NOBYPASSRLS":
		default:
			b.WriteString(word)
		}
	}
	return b.String()
}
