package pgdrill

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgdump"
	target "capstan/internal/target/postgres"
)

// readGlobals gives the statements about roles that belong to the dump; none where there
// are no globals.
func (d *drill) readGlobals() ([]string, error) {
	path := d.options.Globals
	if path == "" {
		path = filepath.Join(d.options.Dir, pgdump.Globals)
		if _, err := os.Stat(path); err != nil {
			return nil, nil //nolint:nilerr // a dump need not have any
		}
	}
	text, err := d.env.Disk.ReadFile(path, pgdump.MaxGlobals)
	if err != nil {
		return nil, &capstan.Error{Op: "read the roles in", Object: path, Err: err}
	}
	return aboutRoles(string(text)), nil
}

// makeRoles carries out the statements about roles on a scratch server. What it refuses
// is a problem of the drill; roles that are there already are not.
func (d *drill) makeRoles(ctx context.Context, conn *pg.Conn, statements []string) error {
	for _, sql := range statements {
		err := exec(ctx, conn, sql)
		refused, isRefused := errors.AsType[*pgconn.PgError](err)
		switch {
		case err == nil:
		case !isRefused || ending(refused):
			return err
		case refused.Code == duplicateObject:
		default:
			d.problem(clip("roles: "+sql), refused.Message)
		}
	}
	return nil
}

const (
	duplicateObject = "42710" // https://www.postgresql.org/docs/current/errcodes-appendix.html
	shownStatement  = 200
)

// aboutRoles are those of the statements of pg_dumpall that make roles, and make them
// members of each other. Left out is what a drill has no use for or must not have:
// passwords, settings of roles, tablespaces (whose directories are the source's), rights
// on parameters. Who granted a membership is left out too: it need not be anybody who
// may do that here.
func aboutRoles(globals string) (kept []string) {
	for _, words := range statements(globals) {
		if len(words) < 3 {
			continue
		}
		switch verb := strings.ToUpper(words[0] + " " + words[1]); {
		case verb == "CREATE ROLE":
		case verb == "ALTER ROLE" && len(words) > 3 && strings.EqualFold(words[3], "WITH"):
			if at := index(words, "PASSWORD"); at >= 0 && at+1 < len(words) {
				words = slices.Delete(slices.Clone(words), at, at+2)
			}
		case strings.EqualFold(words[0], "GRANT") && index(words, "ON") < 0:
			if at := index(words, "GRANTED"); at >= 0 {
				words = words[:at]
			}
		default:
			continue
		}
		kept = append(kept, strings.Join(words, " "))
	}
	return kept
}

// index is where a keyword stands behind the first words; -1 if it does not. Names that
// are keywords are quoted.
func index(words []string, keyword string) int {
	for i, word := range words {
		if i > 1 && strings.EqualFold(word, keyword) {
			return i
		}
	}
	return -1
}

// statements cuts a script of pg_dumpall into statements, and those into words: names
// and texts with their quotes, everything else as it stands. Comments are left out, and
// so are commands to psql, which begin a line.
func statements(script string) (all [][]string) {
	var words []string
	begins := true // a line
	for script != "" {
		line, _, _ := strings.Cut(script, "\n")
		switch {
		case strings.HasPrefix(script, "--"), begins && script[0] == '\\':
			script = script[len(line):]
			continue
		case script[0] == ';':
			if len(words) > 0 {
				all = append(all, words)
			}
			words, script = nil, script[1:]
		case script[0] == '"' || script[0] == '\'':
			end := quoteEnd(script)
			words, script = append(words, script[:end]), script[end:]
		case strings.ContainsRune(" \t\n\r", rune(script[0])):
			begins = script[0] == '\n'
			script = script[1:]
			continue
		default:
			end := strings.IndexAny(script, " \t\n\r;\"'")
			if end < 0 {
				end = len(script)
			}
			words, script = append(words, script[:end]), script[end:]
		}
		begins = false
	}
	return all
}

// quoteEnd is where a quoted name or text ends; a doubled quote is part of it.
func quoteEnd(text string) int {
	for i := 1; i < len(text); i++ {
		if text[i] != text[0] {
			continue
		}
		if i+1 < len(text) && text[i+1] == text[0] {
			i++
			continue
		}
		return i + 1
	}
	return len(text)
}

// problem notes what the server did not take.
func (d *drill) problem(object, why string) {
	d.same(func(s *Summary) { s.Problems = append(s.Problems, target.Problem{Object: object, Err: why}) })
}

// clip shortens what is shown of a statement.
func clip(text string) string {
	if len(text) > shownStatement {
		return text[:shownStatement] + "…"
	}
	return text
}
