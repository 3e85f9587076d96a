package pgdrill

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"capstan"
	"capstan/internal/pgdump"
	"capstan/internal/pgtoc"
	"capstan/internal/rowsum"
	source "capstan/internal/source/postgres"
)

// expected is a table with what it has to hold.
type expected struct {
	pgdump.Table
	statement string      // that reads it
	rows      int64       // of the receipt, else of the file
	hash      *rowsum.Sum // of the receipt; nil where there is none
	bytes     int64       // of its text; 0 where it is not known
}

func (t *expected) object() string { return "table " + t.String() }

// load opens the dump and says what is expected. What is damaged is a difference, and
// then there may be no dump.
func (d *drill) load() error {
	damaged := func(object string, err error) error {
		d.differs(Difference{Object: object, In: inFiles, Err: err.Error()})
		return nil
	}
	if err := d.readReceipt(); err != nil {
		return damaged(source.ReceiptName, err)
	}
	if d.receipt != nil {
		toc, err := os.ReadFile(filepath.Join(d.options.Dir, pgdump.TOC))
		if err == nil && source.ReceiptOf(toc) != d.receipt.Contents {
			return damaged(pgdump.TOC, errors.New("it is not as it was written"))
		}
	}
	var err error
	if d.dump, err = pgdump.Open(os.DirFS(d.options.Dir)); errors.Is(err, capstan.ErrDamaged) {
		return damaged("the dump", err)
	} else if err != nil {
		return err
	}
	d.summary.Database, d.summary.DumpServer = d.dump.Database.Value, d.dump.ServerVersion.Value
	said := map[string]source.TableReceipt{}
	if d.receipt != nil {
		d.summary.Snapshot, d.summary.Against = d.receipt.Snapshot, AgainstSource
		for _, t := range d.receipt.Tables {
			said[t.File] = t
		}
	}
	d.foreign = foreignTables(d.dump.Archive)
	for _, t := range d.dump.Tables() {
		e := &expected{Table: t, statement: statement(t)}
		if r, ok := said[stem(t.File)]; ok && r.Hash != nil {
			e.rows, e.hash, e.bytes = r.Rows, r.Hash, r.Bytes
			if strings.HasPrefix(r.Statement, "COPY (") { // a part of the table, as pg_dump chose it
				e.statement = r.Statement
			}
		} else if d.receipt != nil {
			d.differs(Difference{Object: e.object(), In: inFiles, Err: "the receipt does not know it"})
		}
		d.tables = append(d.tables, e)
	}
	d.uncompared()
	return nil
}

// readReceipt reads the receipt; one from before there were hashes is none.
func (d *drill) readReceipt() error {
	raw, err := os.ReadFile(filepath.Join(d.options.Dir, source.ReceiptName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var r source.Receipt
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	switch {
	case err != nil:
		return err
	case r.HashMethod == "" && r.Contents.SHA256 == "":
		return nil
	case r.HashMethod != rowsum.Method:
		return fmt.Errorf("its hashes are made in a way that is not known: %q", r.HashMethod)
	}
	d.receipt = &r
	return nil
}

// statement reads a whole table. Its names are those of the table of contents, in the
// encoding of the dump.
func statement(t pgdump.Table) string {
	columns := ""
	if len(t.Columns) > 0 {
		quoted := make([]string, len(t.Columns))
		for i, name := range t.Columns {
			quoted[i] = pgx.Identifier{name}.Sanitize()
		}
		columns = " (" + strings.Join(quoted, ", ") + ")"
	}
	return "COPY " + pgx.Identifier{t.Schema, t.Name}.Sanitize() + columns + " TO stdout"
}

// stem is the name of a data file without the suffix of its compression.
func stem(file string) string {
	before, _, _ := strings.Cut(file, ".dat")
	return before + ".dat"
}

// foreignTables are those whose rows are on other servers: they are not restored, since
// that would write there.
func foreignTables(toc *pgtoc.Archive) map[string]bool {
	found := map[string]bool{}
	for i := range toc.Entries {
		if e := &toc.Entries[i]; e.Desc.Value == "FOREIGN TABLE" {
			found[e.Namespace.Value+"."+e.Tag.Value] = true
		}
	}
	return found
}

// withoutForeign leaves the rows of foreign tables out of a restore.
func (d *drill) withoutForeign(e *pgtoc.Entry) bool {
	return e.Desc.Value == pgtoc.DescTableData && d.foreign[e.Namespace.Value+"."+e.Tag.Value]
}

// uncompared names what a drill says nothing about.
func (d *drill) uncompared() {
	var spaces []string
	for i := range d.dump.Entries {
		e := &d.dump.Entries[i]
		if name := e.Tablespace.Value; name != "" && !slices.Contains(spaces, name) {
			spaces = append(spaces, name)
		}
		switch {
		case e.Desc.Value == "MATERIALIZED VIEW":
			d.summary.NotCompared = append(d.summary.NotCompared, "materialized view "+e.Namespace.Value+"."+e.Tag.Value)
		case d.withoutForeign(e):
			d.summary.NotCompared = append(d.summary.NotCompared, "rows of foreign table "+e.Namespace.Value+"."+e.Tag.Value)
		}
	}
	if len(spaces) > 0 {
		slices.Sort(spaces)
		d.summary.NotCompared = append(d.summary.NotCompared, "tablespaces "+strings.Join(spaces, ", ")+" (everything is restored into the default one)")
	}
}
