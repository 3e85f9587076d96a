package pgdrill

import (
	"slices"
	"strings"

	"capstan/internal/pgtoc"
)

// Unproven is something of a dump of which a drill can say nothing, and why.
type Unproven struct {
	Object string `json:"object"` // "extension hstore", "table public.orders"
	Why    string `json:"why"`
}

// leaveOut leaves the extensions that the server does not have out of the restore, with
// everything that depends on them, and names it.
func (d *drill) leaveOut(missing []string) {
	d.left = map[int32]bool{}
	why := map[int32]string{}
	for i := range d.dump.Entries {
		if e := &d.dump.Entries[i]; e.Desc.Value == descExtension && slices.Contains(missing, e.Tag.Value) {
			d.left[e.DumpID] = true
			why[e.DumpID] = "extension " + e.Tag.Value + " is not installed where the server's programs are"
		}
	}
	for grown := true; grown; {
		grown = false
		for i := range d.dump.Entries {
			e := &d.dump.Entries[i]
			if d.left[e.DumpID] {
				continue
			}
			for _, id := range e.DependsOn {
				if d.left[id] {
					d.left[e.DumpID], why[e.DumpID], grown = true, why[id], true
					break
				}
			}
		}
	}
	// Configuration tables of extensions are rows without a table: the dump does not say
	// of which extension.
	defined := d.definedTables()
	for i := range d.dump.Entries {
		e := &d.dump.Entries[i]
		if name := e.Namespace.Value + "." + e.Tag.Value; e.Desc.Value == pgtoc.DescTableData && !defined[name] {
			d.left[e.DumpID] = true
			d.summary.Unproven = append(d.summary.Unproven, Unproven{
				Object: "table " + name, Why: "it is an extension's, and " + strings.Join(missing, ", ") + " is not installed where the server's programs are",
			})
		}
	}
	for i := range d.dump.Entries {
		if e := &d.dump.Entries[i]; d.left[e.DumpID] && byItself(e) {
			d.summary.Unproven = append(d.summary.Unproven, Unproven{Object: objectOf(e), Why: why[e.DumpID]})
		}
	}
}

// definedTables are those that the dump makes itself.
func (d *drill) definedTables() map[string]bool {
	names := map[string]bool{}
	for i := range d.dump.Entries {
		if e := &d.dump.Entries[i]; slices.Contains([]string{"TABLE", "FOREIGN TABLE"}, e.Desc.Value) {
			names[e.Namespace.Value+"."+e.Tag.Value] = true
		}
	}
	return names
}

const descExtension = "EXTENSION"

// byItself reports whether an entry is an object of its own, and no part of another.
func byItself(e *pgtoc.Entry) bool {
	return e.Section == pgtoc.SectionPreData && !slices.Contains([]string{"COMMENT", "ACL", "DEFAULT", "SEQUENCE OWNED BY", "SECURITY LABEL", "TABLE ATTACH"}, e.Desc.Value)
}

// objectOf is how people call what an entry is about.
func objectOf(e *pgtoc.Entry) string {
	name := e.Tag.Value
	if e.Namespace.Value != "" {
		name = e.Namespace.Value + "." + name
	}
	return strings.ToLower(e.Desc.Value) + " " + name
}

// leftOut reports whether an entry is not restored: it needs an extension that is
// missing, or its rows are another server's.
func (d *drill) leftOut(e *pgtoc.Entry) bool { return d.left[e.DumpID] || d.withoutForeign(e) }

// unread are the data files of tables that are not restored.
func (d *drill) unread() map[string]bool {
	files := map[string]bool{}
	for i := range d.dump.Entries {
		if e := &d.dump.Entries[i]; e.Desc.Value == pgtoc.DescTableData && d.leftOut(e) {
			files[e.File.Value] = true
		}
	}
	return files
}
