package pgdrill

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgtoc"
)

// roles sees to the roles that the dump names: on a scratch server they are made, by the
// globals where the dump has any, else by their names; a given server has them, or owners
// and rights are left out.
func (d *drill) roles(ctx context.Context, conn *pg.Conn, p *place) error {
	d.summary.Roles = RolesServer
	if p.server != nil {
		statements, err := d.readGlobals()
		if err != nil {
			return err
		}
		if d.summary.Roles = RolesNames; len(statements) > 0 {
			d.summary.Roles = RolesGlobals
		}
		if err := d.makeRoles(ctx, conn, statements); err != nil {
			return err
		}
	}
	names, err := absent(ctx, conn, "SELECT rolname FROM pg_catalog.pg_roles", rolesOf(d.dump.Archive))
	switch {
	case err != nil:
		return err
	case p.server == nil && len(names) > 0:
		p.plain, d.summary.Roles = true, RolesMissing
		d.env.Warn("the server has no roles %s: the dump is restored without owners and rights", strings.Join(names, ", "))
	case p.server == nil:
	case d.summary.Roles == RolesGlobals && len(names) > 0:
		d.notCompared("roles " + strings.Join(names, ", ") + " (the globals have none of that name: made as superusers)")
	}
	for _, role := range names {
		if p.server == nil {
			break
		}
		// A superuser, since what belongs to him may need rights that are not in the dump.
		if _, err := conn.Exec(ctx, "CREATE ROLE "+pgx.Identifier{role}.Sanitize()+" SUPERUSER"); err != nil {
			return &capstan.Error{Op: "make", Object: "role " + role, Err: err}
		}
	}
	switch d.summary.Roles {
	case RolesMissing:
		d.notCompared("owners and rights (the server has no roles " + strings.Join(names, ", ") + ")")
	case RolesNames:
		d.notCompared("attributes and memberships of roles (the dump has no globals)")
	}
	return nil
}

// notCompared names something that the drill says nothing about.
func (d *drill) notCompared(what string) {
	d.same(func(s *Summary) { s.NotCompared = append(s.NotCompared, what) })
}

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
