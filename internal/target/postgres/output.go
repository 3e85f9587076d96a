package postgres

import (
	"bytes"
	"strconv"
	"strings"

	"capstan"
	"capstan/internal/pgtoc"
	"capstan/internal/progress"
)

// listener reads what pg_restore says with --verbose: which entry it works on, and what
// went wrong. It is the writer of its standard error; the texts are those of
// pg_backup_archiver.c and parallel.c, untranslated.
type listener struct {
	pulse   *pulse
	tracker *progress.Tracker
	toc     map[int32]*pgtoc.Entry
	sizes   map[int32]int64 // of data files, by dump id
	byTable map[string]int32

	rest    []byte
	current string // the entry that an error is about, as pg_restore names it
	last    []string
	told    int // the problem whose statement is still being printed, from 1
	summary *Summary
	ignored int64 // errors that mean nothing
	errors  int64 // how many errors pg_restore says that there were
}

// maxLine bounds a line that is kept; a statement can be of any length.
const maxLine = 64 << 10

// Write takes what pg_restore wrote. It never fails.
func (l *listener) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, after, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			break
		}
		l.line(strings.TrimRight(string(line), "\r"))
		l.rest = after
	}
	if len(l.rest) > maxLine {
		l.rest = l.rest[:maxLine]
	}
	l.rest = bytes.Clone(l.rest)
	return len(p), nil
}

// line takes one line. With jobs several processes write at once, and not whole lines:
// what one says may stand behind the beginning of what another does.
func (l *listener) line(line string) {
	const name = "pg_restore: "
	begin := strings.LastIndex(line, name)
	if begin < 0 {
		l.more(line)
		return
	}
	text := line[begin+len(name):]
	l.told = 0
	if count, ok := strings.CutPrefix(text, "warning: errors ignored on restore: "); ok {
		l.errors = int64(leadingNumber(count))
		return
	}
	if fault, ok := cutAny(text, "error: ", "[archiver] ", "[archiver (db)] ", "fatal: "); ok {
		l.fault(fault)
		return
	}
	if entry, ok := strings.CutPrefix(text, "from TOC entry "); ok {
		l.current = l.object(entry)
		return
	}
	if item, ok := cutAny(text, "launching item ", "processing item "); ok {
		l.pulse.stage.Object(l.object(item))
		return
	}
	if item, ok := strings.CutPrefix(text, "finished item "); ok {
		l.done(leadingNumber(item))
		return
	}
	if table, ok := strings.CutPrefix(text, `processing data for table "`); ok {
		// Without jobs the end of a table is not said, only the begin of what follows.
		table = strings.TrimSuffix(table, `"`)
		l.pulse.stage.Object("TABLE DATA " + table)
		l.done(l.byTable[table])
		return
	}
	if what, ok := cutAny(text, "creating ", "dropping "); ok {
		l.pulse.stage.Object(what)
	}
	l.pulse.moved(0, 1)
}

// harmless are errors that mean nothing: parameters that a newer pg_restore sets, and
// this server does not know.
func harmless(fault string) bool {
	return strings.Contains(fault, `unrecognized configuration parameter "transaction_timeout"`)
}

// fault notes an error. The one that ends pg_restore is about no entry.
func (l *listener) fault(fault string) {
	l.last = append(l.last[max(0, len(l.last)-4):], fault)
	if harmless(fault) {
		l.ignored++
		return
	}
	if len(l.summary.Problems) >= maxProblems {
		l.summary.Unnamed++
		return
	}
	l.summary.Problems = append(l.summary.Problems, Problem{Object: l.current, Err: strings.TrimPrefix(fault, "could not execute query: ")})
	l.told = len(l.summary.Problems)
}

// more is a further line of an error: its detail, and the statement, whose first line
// is enough.
func (l *listener) more(line string) {
	if l.told == 0 || strings.TrimSpace(line) == "" {
		return
	}
	p := &l.summary.Problems[l.told-1]
	if strings.HasPrefix(line, "Command was: ") {
		l.told = 0
	}
	if len(p.Err)+len(line) < maxLine {
		p.Err += "; " + line
	}
}

// done counts the data of an entry.
func (l *listener) done(id int32) {
	l.pulse.moved(0, 1)
	if size, ok := l.sizes[id]; ok {
		delete(l.sizes, id)
		l.summary.Tables++
		l.summary.Bytes += size
		l.pulse.moved(capstan.Bytes(size), 0)
		l.tracker.Count(1, capstan.Bytes(size), 0)
	}
}

// conclude counts what was not said, or not legibly: the tables of a restore that
// succeeded, and the errors of one that did not.
func (l *listener) conclude(succeeded bool) {
	if succeeded {
		for id := range l.sizes {
			l.done(id)
		}
	}
	if known := int64(len(l.summary.Problems)) + l.summary.Unnamed + l.ignored; l.errors > known {
		l.summary.Unnamed += l.errors - known
	}
}

// object names an entry by the number that pg_restore's text begins with.
func (l *listener) object(text string) string {
	e := l.toc[leadingNumber(text)]
	if e == nil {
		return text
	}
	return strings.Join(strings.Fields(e.Desc.Value+" "+e.Namespace.Value+" "+e.Tag.Value), " ")
}

func leadingNumber(text string) int32 {
	digits := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(text)
	}
	n, err := strconv.ParseInt(text[:digits], 10, 32)
	if err != nil {
		return 0 // no entry has it
	}
	return int32(n)
}

func number(id int32) string { return strconv.Itoa(int(id)) }

func cutAny(text string, prefixes ...string) (rest string, found bool) {
	for _, prefix := range prefixes {
		if rest, found = strings.CutPrefix(text, prefix); found {
			return rest, true
		}
	}
	return text, false
}
