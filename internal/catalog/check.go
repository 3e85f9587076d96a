package catalog

import (
	"context"
	"database/sql"
	"fmt"

	"capstan"
)

// maxFound bounds how many problems Check names.
const maxFound = 100

// Check looks at everything: the file and its keys, and that the records agree
// with each other. It names up to a hundred problems; none means that the
// catalog is sound. It reads the whole file several times, a few seconds for a
// million entries, and holds back no writer, though the file's log grows
// meanwhile. The error says only that Check could not be done.
func (c *Catalog) Check(ctx context.Context) ([]string, error) {
	problems, err := c.check(ctx)
	return problems, c.failed(ctx, "check", err)
}

func (c *Catalog) check(ctx context.Context) ([]string, error) {
	problems, err := c.sqliteProblems(ctx)
	if err != nil || len(problems) > 0 {
		return problems, err // the records of a damaged file say nothing
	}
	k := &checker{c: c}
	if err := k.strays(ctx); err != nil {
		return nil, err
	}
	var left int64
	if _, err := one(ctx, c.reads, sqlLeftOfGoneSets, nil, &left); err != nil {
		return nil, err
	}
	if left > 0 {
		k.found("there are %d archives of forgotten sets, of which nothing should be left", left)
	}
	rows, err := readSets(ctx, c.reads, sqlSets)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if err := k.set(ctx, row); err != nil {
			return nil, err
		}
	}
	return k.problems, nil
}

type checker struct {
	c        *Catalog
	problems []string
}

func (k *checker) found(format string, args ...any) {
	if len(k.problems) < maxFound {
		k.problems = append(k.problems, fmt.Sprintf(format, args...))
	}
}

// strays finds rows of sets that are not there.
func (k *checker) strays(ctx context.Context) error {
	for _, query := range []string{sqlNextEntrySet, sqlNextDirSet, sqlNextNotableSet, sqlNextPieceSet} {
		for no := int64(-1); ; {
			more, err := one(ctx, k.c.reads, query, with(no), &no)
			if err != nil {
				return err
			}
			if !more {
				break
			}
			known, err := one(ctx, k.c.reads, sqlSetNoKnown, with(no), new(int64))
			if err != nil {
				return err
			}
			if !known {
				k.found("there are rows of set number %d, which is not there", no)
			}
		}
	}
	return nil
}

// archiveCheck is what an archive's row says, and what was counted.
type archiveCheck struct {
	committed     bool
	entries, held int64
	rows          int64
}

func (k *checker) set(ctx context.Context, row setRow) error {
	id := row.set.ID
	archives := map[int64]*archiveCheck{}
	err := each(ctx, k.c.reads, sqlArchiveChecks, with(row.no), func(rows *sql.Rows) error {
		a := &archiveCheck{}
		var number int64
		err := rows.Scan(&number, &a.committed, &a.entries, &a.held)
		archives[number] = a
		return err
	})
	if err != nil {
		return err
	}
	if err := k.entries(ctx, row, archives); err != nil {
		return err
	}
	for number, a := range archives {
		switch {
		case a.rows > a.held, a.rows < a.held && a.committed: // a discard that was cut short goes on later
			k.found("set %s: archive %d has %d entries, %d were recorded", id, number, a.rows, a.held)
		case a.committed && a.rows > a.entries:
			k.found("set %s: archive %d has %d entries, its file holds %d", id, number, a.rows, a.entries)
		case !a.committed && finishedStatus(row.set.Status):
			k.found("set %s is %s, but archive %d is not committed", id, row.set.Status, number)
		}
	}
	var copies int64
	if _, err := one(ctx, k.c.reads, sqlEarlyCopies, with(row.no), &copies); err != nil {
		return err
	}
	if copies > 0 {
		k.found("set %s: %d copies are written of archives that are not committed", id, copies)
	}
	return nil
}

// entries reads the set's entries, and counts what other tables derive from them.
func (k *checker) entries(ctx context.Context, set setRow, archives map[int64]*archiveCheck) error {
	id := set.set.ID
	var children, notables int64
	origins := map[int64]bool{}
	err := each(ctx, k.c.reads, sqlAllEntries, with(set.no), func(rows *sql.Rows) error {
		row, originNo, err := scanEntry(rows)
		if err != nil && row.name == "" {
			return err
		}
		if err != nil {
			k.found("set %s: %v", id, err)
			return nil
		}
		if originNo != 0 {
			origins[originNo] = true
		}
		if row.child != 0 {
			children++
		}
		if isNotable(row.entry.Outcome) {
			notables++
		}
		k.countRow(id, &row, archives)
		return nil
	})
	if err != nil {
		return err
	}
	for no := range origins {
		if _, err := k.c.origin(ctx, k.c.reads, no); err != nil {
			k.found("set %s: %v", id, err)
		}
	}
	return k.derived(ctx, set, children, notables)
}

// countRow counts an entry for its archive.
func (k *checker) countRow(id capstan.SetID, row *stored, archives map[int64]*archiveCheck) {
	archive := row.entry.Archive
	if n := len(row.entry.Parts); n > 0 {
		archive = row.entry.Parts[n-1].Archive
	}
	if archive == 0 {
		return
	}
	if a := archives[int64(archive)]; a != nil {
		a.rows++
		return
	}
	k.found("set %s: entry %q names archive %d, which is not there", id, row.name, archive)
}

// derived compares with the tables of directories, outcomes and parts.
func (k *checker) derived(ctx context.Context, set setRow, children, notables int64) error {
	var dirs, listed, lost, pieces, orphans int64
	for _, count := range []struct {
		query string
		args  []any
		into  *int64
	}{
		{sqlCountDirs, with(set.no), &dirs},
		{sqlCountNotable, with(set.no), &listed},
		{sqlCountLostDirs, with(set.no), &lost},
		{sqlCountLostPieces, with(set.no), &pieces},
		{sqlCountOrphans, with(set.no, set.no), &orphans},
	} {
		if _, err := one(ctx, k.c.reads, count.query, count.args, count.into); err != nil {
			return err
		}
	}
	id := set.set.ID
	if lost > 0 || dirs != children {
		k.found("set %s: %d directories for %d entries, %d of them without theirs", id, dirs, children, lost)
	}
	if listed != notables {
		k.found("set %s: %d entries are listed by outcome, %d should be", id, listed, notables)
	}
	if pieces > 0 && finishedStatus(set.set.Status) { // of an open set, a discard that was cut short leaves some
		k.found("set %s: %d parts belong to no entry", id, pieces)
	}
	if orphans > 0 {
		k.found("set %s: %d entries lie in directories that are not there", id, orphans)
	}
	if n := set.set.Counts.Failed; n > 0 && set.set.Status == capstan.RunComplete {
		k.found("set %s is complete with %d failed entries", id, n)
	}
	return nil
}
