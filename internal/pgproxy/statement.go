package pgproxy

import (
	"fmt"
	"strconv"
	"strings"
)

// Copy is one statement of pg_dump that reads a table's data.
type Copy struct {
	SQL     string // without the semicolon
	Table   string // qualified and quoted, as SQL wants it
	Columns string // a list as SQL wants it; empty for a table without columns, "*" for all
	Setting string // to be made before it, in the place of one of Transcript.Settings; may be empty
	// Query says that it reads a query and not the whole table as it is: a filtered
	// table of an extension, or a foreign one.
	Query bool
}

const (
	copyBegin  = "COPY "
	queryBegin = "(SELECT "
	copyEnd    = " TO stdout;"
	lockBegin  = "LOCK TABLE "
	lockEnd    = " IN ACCESS SHARE MODE"
)

// parseCopy takes one of the two forms of pg_dump's dumpTableData_copy apart:
// "COPY name (columns) TO stdout;" and "COPY (SELECT columns FROM name filter) TO stdout;".
func parseCopy(sql string) (Copy, error) {
	foreign := fmt.Errorf("pg_dump reads data in a form that is not known: %s", sql)
	rest, isCopy := strings.CutPrefix(sql, copyBegin)
	rest, toStdout := strings.CutSuffix(rest, copyEnd)
	if !isCopy || !toStdout {
		return Copy{}, foreign
	}
	c := Copy{SQL: strings.TrimSuffix(sql, ";")}
	var ok bool
	if rest, c.Query = strings.CutPrefix(rest, queryBegin); c.Query {
		if c.Columns, rest, ok = cutColumns(rest); !ok {
			return Copy{}, foreign
		}
		if rest, ok = strings.CutPrefix(rest, " FROM "); !ok {
			return Copy{}, foreign
		}
		rest = strings.TrimPrefix(rest, "ONLY ")
		if c.Table, rest, ok = cutName(rest); !ok || !strings.HasSuffix(rest, ")") {
			return Copy{}, foreign
		}
		return c, nil
	}
	if c.Table, rest, ok = cutName(rest); !ok {
		return Copy{}, foreign
	}
	rest = strings.TrimPrefix(rest, " ")
	if rest == "" {
		return c, nil
	}
	rest, opened := strings.CutPrefix(rest, "(")
	rest, closed := strings.CutSuffix(rest, ")")
	if c.Columns, rest, ok = cutColumns(rest); !ok || !opened || !closed || rest != "" {
		return Copy{}, foreign
	}
	return c, nil
}

// restoreEnd is how the statement ends by which a table of contents has data restored.
const restoreEnd = " FROM stdin;\n"

// Reading gives the statement with which pg_dump (13 to 18) reads the whole of a table:
// its columns are those of the statement by which its data is restored, in which the
// name may be that of the partitions' root. It is not for tables of which a part is
// read. ok is false for a form that is not known.
func Reading(table, restoring string) (c Copy, ok bool) {
	rest, isCopy := strings.CutPrefix(restoring, copyBegin)
	rest, isRestore := strings.CutSuffix(rest, restoreEnd)
	_, columns, named := cutName(rest)
	if !isCopy || !isRestore || !named || !strings.HasPrefix(columns, " ") { // without columns there are two blanks
		return Copy{}, false
	}
	c, err := parseCopy(copyBegin + table + columns + copyEnd)
	return c, err == nil && c.Table == table && !c.Query
}

// parseLock gives the tables of "LOCK TABLE a, b IN ACCESS SHARE MODE".
func parseLock(sql string) ([]string, error) {
	rest, isLock := strings.CutPrefix(strings.TrimSuffix(sql, ";"), lockBegin)
	rest, shared := strings.CutSuffix(rest, lockEnd)
	var names []string
	for ok := isLock && shared; ok; rest, ok = strings.CutPrefix(rest, ", ") {
		var name string
		if name, rest, ok = cutName(strings.TrimPrefix(rest, "ONLY ")); !ok {
			break
		}
		names = append(names, name)
		if rest == "" {
			return names, nil
		}
	}
	return nil, fmt.Errorf("pg_dump locks in a form that is not known: %s", sql)
}

// cutColumns takes "*" or "a, b" off the beginning.
func cutColumns(s string) (columns, rest string, ok bool) {
	if rest, all := strings.CutPrefix(s, "*"); all {
		return "*", rest, true
	}
	rest = s
	for {
		if rest, ok = cutIdentifier(rest); !ok {
			return "", s, false
		}
		next, more := strings.CutPrefix(rest, ", ")
		if !more {
			return s[:len(s)-len(rest)], rest, true
		}
		rest = next
	}
}

// cutName takes a name with its schema off the beginning.
func cutName(s string) (name, rest string, ok bool) {
	if rest, ok = cutIdentifier(s); !ok {
		return "", s, false
	}
	if after, qualified := strings.CutPrefix(rest, "."); qualified {
		if rest, ok = cutIdentifier(after); !ok {
			return "", s, false
		}
	}
	return s[:len(s)-len(rest)], rest, true
}

// cutIdentifier takes a plain or a quoted identifier off the beginning, as fmtId of
// pg_dump writes them.
func cutIdentifier(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := 0
		for end < len(s) && (s[end] == '_' || s[end] >= 'a' && s[end] <= 'z' || s[end] >= '0' && s[end] <= '9') {
			end++
		}
		return s[end:], end > 0
	}
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] != '"':
		case i+1 < len(s) && s[i+1] == '"':
			i++
		default:
			return s[i+1:], true
		}
	}
	return s, false
}

const markerBegin = "capstan data "

// marker is the row that stands for the data of the statement with that number.
func marker(number int) []byte { return []byte(markerBegin + strconv.Itoa(number) + "\n") }

// ReadMarker gives the number, in Transcript.Copies, of the statement whose data
// belongs into a file that pg_dump wrote uncompressed with this content.
func ReadMarker(content []byte) (number int, ok bool) {
	line, _, _ := strings.Cut(string(content), "\n")
	digits, ok := strings.CutPrefix(line, markerBegin)
	number, err := strconv.Atoi(digits)
	return number, ok && err == nil && number >= 0
}
