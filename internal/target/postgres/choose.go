package postgres

import (
	"slices"
	"strings"

	"capstan"
	"capstan/internal/pgtoc"
)

// chosen are the dump ids of what Options asks for, in the order of the dump; nil
// means everything.
func (o Options) chosen(toc *pgtoc.Archive) ([]int32, error) {
	without := func(e *pgtoc.Entry) bool { return o.Without != nil && o.Without(e) }
	if len(o.Tables) == 0 && len(o.Schemas) == 0 {
		var ids []int32
		left := false
		for i := range toc.Entries {
			if e := &toc.Entries[i]; without(e) {
				left = true
			} else {
				ids = append(ids, e.DumpID)
			}
		}
		if !left {
			return nil, nil
		}
		return ids, nil
	}
	c := newChoice(toc)
	for _, name := range o.Tables {
		if !c.take(func(e *pgtoc.Entry) bool {
			return isTable(e) && (e.Tag.Value == name || e.Namespace.Value+"."+e.Tag.Value == name)
		}) {
			return nil, &capstan.Error{Class: capstan.ErrNotFound, Op: "restore", Object: "table " + name, Err: errNotInDump}
		}
	}
	for _, name := range o.Schemas {
		if !c.take(func(e *pgtoc.Entry) bool {
			return e.Namespace.Value == name || e.Desc.Value == "SCHEMA" && e.Tag.Value == name
		}) {
			return nil, &capstan.Error{Class: capstan.ErrNotFound, Op: "restore", Object: "schema " + name, Err: errNotInDump}
		}
	}
	c.close()
	var ids []int32
	for i := range toc.Entries {
		if e := &toc.Entries[i]; c.in[e.DumpID] && !without(e) {
			ids = append(ids, e.DumpID)
		}
	}
	return ids, nil
}

// choice grows from the tables that were named to what belongs to them.
type choice struct {
	toc  *pgtoc.Archive
	byID map[int32]*pgtoc.Entry
	in   map[int32]bool
}

func newChoice(toc *pgtoc.Archive) *choice {
	c := &choice{toc: toc, byID: map[int32]*pgtoc.Entry{}, in: map[int32]bool{}}
	for i := range toc.Entries {
		c.byID[toc.Entries[i].DumpID] = &toc.Entries[i]
	}
	return c
}

// take chooses the entries that are wanted; it reports whether there are any.
func (c *choice) take(wanted func(*pgtoc.Entry) bool) bool {
	found := false
	for i := range c.toc.Entries {
		if e := &c.toc.Entries[i]; wanted(e) {
			c.in[e.DumpID], found = true, true
		}
	}
	return found
}

// isTable reports whether an entry is something that can be named as a table.
func isTable(e *pgtoc.Entry) bool {
	return slices.Contains([]string{"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"}, e.Desc.Value)
}

// belonging are the kinds of entries that come with what they depend on.
func belonging(e *pgtoc.Entry) bool {
	return slices.Contains([]string{
		"TABLE DATA", "DEFAULT", "SEQUENCE OWNED BY", "SEQUENCE SET", "INDEX", "INDEX ATTACH", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT",
		"TRIGGER", "RULE", "POLICY", "ROW SECURITY", "COMMENT", "SECURITY LABEL", "ACL", "STATISTICS", "STATISTICS DATA", "MATERIALIZED VIEW DATA", "TABLE ATTACH",
	}, e.Desc.Value)
}

// close adds what belongs to the choice, until nothing more does: an index comes with
// its table, a foreign key with both of its tables, the sequence of a serial column
// with its default.
func (c *choice) close() {
	for grown := true; grown; {
		grown = false
		for i := range c.toc.Entries {
			e := &c.toc.Entries[i]
			if c.in[e.DumpID] || !belonging(e) || !c.rests(e) {
				continue
			}
			c.in[e.DumpID], grown = true, true
			for _, id := range e.DependsOn {
				if on := c.byID[id]; on != nil && on.Desc.Value == "SEQUENCE" {
					c.in[id] = true
				}
			}
		}
	}
}

// rests reports whether an entry depends on something that is chosen, and on no table
// that is not.
func (c *choice) rests(e *pgtoc.Entry) bool {
	any := false
	for _, id := range e.DependsOn {
		on := c.byID[id]
		if on == nil {
			continue
		}
		if c.in[id] {
			any = true
		} else if isTable(on) && on.Desc.Value != "SEQUENCE" {
			return false
		}
	}
	return any
}

// list is the file that tells pg_restore what to restore.
func list(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(number(id))
		b.WriteString("; 0 0\n")
	}
	return b.String()
}

// Files are the data files that a restore of a dump reads, by their names in the table
// of contents, without suffixes; nil: all of them.
func (o Options) Files(toc *pgtoc.Archive) (map[string]bool, error) {
	ids, err := o.chosen(toc)
	if err != nil || ids == nil {
		return nil, err
	}
	files, wanted := map[string]bool{}, make(map[int32]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	for i := range toc.Entries {
		if e := &toc.Entries[i]; e.File.Value != "" && wanted[e.DumpID] {
			files[e.File.Value] = true
		}
	}
	return files, nil
}
