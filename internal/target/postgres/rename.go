package postgres

import (
	"strings"

	"github.com/jackc/pgx/v5"

	"capstan/internal/pgtoc"
)

// databaseEntries are those about the database itself, which pg_restore leaves out
// unless it makes the database: how it is made, and what is set and granted then.
func databaseEntries(toc *pgtoc.Archive) (create string, later []*pgtoc.Entry) {
	for i := range toc.Entries {
		e := &toc.Entries[i]
		switch {
		case e.Desc.Value == "DATABASE":
			create = e.Definition.Value
		case e.Desc.Value == "DATABASE PROPERTIES":
			later = append(later, e)
		case strings.HasPrefix(e.Tag.Value, "DATABASE ") && (e.Desc.Value == "COMMENT" || e.Desc.Value == "ACL" || e.Desc.Value == "SECURITY LABEL"):
			later = append(later, e)
		}
	}
	return create, later
}

// renamed puts another name behind each word DATABASE that names the old one. What
// stands in quotes, and in comments, which pg_dump does not write, is left as it is.
func renamed(sql, from, to string) string {
	var out strings.Builder
	named := false // the last word was DATABASE
	for len(sql) > 0 {
		word, rest := token(sql)
		sql = rest
		switch {
		case strings.TrimSpace(word) == "":
		case named && (word == from || word == quoted(from)):
			word, named = quoted(to), false
		default:
			named = strings.EqualFold(word, "DATABASE")
		}
		out.WriteString(word)
	}
	return out.String()
}

// token cuts a word, a quoted text, white space or a single character off.
func token(sql string) (word, rest string) {
	end := 1
	switch first := sql[0]; {
	case first == '\'' || first == '"':
		for end < len(sql) {
			end++
			if sql[end-1] != first {
				continue
			}
			if end == len(sql) || sql[end] != first {
				break
			}
			end++ // a doubled quote is one within
		}
	case isSpace(first):
		for end < len(sql) && isSpace(sql[end]) {
			end++
		}
	case isWord(first):
		for end < len(sql) && isWord(sql[end]) {
			end++
		}
	}
	return sql[:end], sql[end:]
}

func isSpace(b byte) bool { return b == ' ' || b == '\n' || b == '\t' || b == '\r' }

func isWord(b byte) bool {
	return b == '_' || b == '$' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
