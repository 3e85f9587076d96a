package pgdump

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/codec"
	"capstan/internal/pgtoc"
)

// TOC is the name of the table of contents.
const TOC = "toc.dat"

// Globals is the file, in the directory of a dump or in the one above it, that holds what
// belongs to no database, as pg_dumpall writes it: roles, their memberships and settings,
// and tablespaces.
const Globals = "globals.sql"

// MaxGlobals bounds what is read of one: a million roles have some 400 MB.
const MaxGlobals = 1 << 30

// maxTOC bounds what is read of a table of contents: that of 10,000 tables has some
// 20 MB.
const maxTOC = 1 << 30

// Dump is one that was opened. It may be used by several goroutines.
type Dump struct {
	*pgtoc.Archive
	files  fs.FS
	tables []Table
}

// Table is one whose rows are in the dump.
type Table struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	// Columns are those whose values are in the rows, in their order.
	Columns []string      `json:"columns"`
	File    string        `json:"file"`
	Codec   capstan.Codec `json:"codec"`
	Size    int64         `json:"size"` // of the file, in bytes as stored
}

// String gives "schema.name".
func (t *Table) String() string { return t.Schema + "." + t.Name }

// Open reads the table of contents of a dump, and which files there are.
func Open(files fs.FS) (*Dump, error) {
	in, err := files.Open(TOC)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &capstan.Error{Class: capstan.ErrNotFound, Op: "open the dump", Object: TOC, Err: err, Next: "name a directory that pg_dump -Fd or capstan pg dump wrote"}
	}
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.LimitReader(in, maxTOC+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", TOC, err)
	}
	if len(data) > maxTOC {
		return nil, fmt.Errorf("%s is larger than any: %w", TOC, capstan.ErrDamaged)
	}
	d := &Dump{files: files}
	if d.Archive, err = pgtoc.Parse(data); err != nil {
		return nil, err
	}
	for i := range d.Entries {
		if e := &d.Entries[i]; e.Data && e.Desc.Value == pgtoc.DescTableData {
			table, err := d.table(e)
			if err != nil {
				return nil, err
			}
			d.tables = append(d.tables, table)
		}
	}
	slices.SortStableFunc(d.tables, func(a, b Table) int { return strings.Compare(a.String(), b.String()) })
	return d, nil
}

// suffixes are how data files say their compression.
var suffixes = [...]struct {
	suffix string
	codec  capstan.Codec
}{{"", capstan.CodecNone}, {".zst", capstan.CodecZstd}, {".gz", capstan.CodecGzip}, {".lz4", ""}}

func (d *Dump) table(e *pgtoc.Entry) (Table, error) {
	t := Table{Schema: e.Namespace.Value, Name: e.Tag.Value}
	if !fs.ValidPath(e.File.Value) || strings.ContainsRune(e.File.Value, '/') {
		return t, fmt.Errorf("%s: the data of %s is said to be in %q: %w", TOC, &t, e.File.Value, capstan.ErrDamaged)
	}
	var err error
	if t.Columns, err = columns(e.Copy.Value); err != nil {
		return t, fmt.Errorf("%s: the columns of %s: %w", TOC, &t, err)
	}
	if t.File, t.Codec, t.Size, err = d.find(e.File.Value); err != nil {
		return t, fmt.Errorf("the data of %s: %w", &t, err)
	}
	return t, nil
}

// Tables are those with rows, by schema and name. A partitioned table has none; its
// partitions have.
func (d *Dump) Tables() []Table { return d.tables }

// Table finds a table by "schema.name", or by its name alone if only one schema has
// it. Names are as they are, not quoted.
func (d *Dump) Table(name string) (Table, error) {
	var found []Table
	for _, t := range d.tables {
		if t.String() == name {
			return t, nil
		}
		if t.Name == name {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 0:
		return Table{}, &capstan.Error{Class: capstan.ErrNotFound, Op: "table", Object: name, Err: errors.New("the dump has no rows of it"), Next: "see: capstan pg ls"}
	case 1:
		return found[0], nil
	}
	return Table{}, &capstan.Error{Class: capstan.ErrUsage, Op: "table", Object: name, Err: fmt.Errorf("%s and %s are in the dump", &found[0], &found[1]), Next: "name the schema too"}
}

// Rows opens the rows of a table as the text of COPY; package copytext reads them.
func (d *Dump) Rows(t Table) (io.ReadCloser, error) {
	if t.Codec == "" {
		return nil, &capstan.Error{Op: "read", Object: t.File, Err: errors.New("lz4 is not read"), Next: "unpack it with lz4, or restore with pg_restore"}
	}
	file, err := d.files.Open(t.File)
	if err != nil {
		return nil, err
	}
	stream, err := codec.NewStream(t.Codec, file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %w", t.File, err, capstan.ErrDamaged), file.Close())
	}
	return &rows{stream: stream, file: file, name: t.File}, nil
}

// rows names the file in whatever a stream reports.
type rows struct {
	stream, file io.ReadCloser
	name         string
}

func (r *rows) Read(p []byte) (int, error) {
	n, err := r.stream.Read(p)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%s: %w: %w", r.name, err, capstan.ErrDamaged)
	}
	return n, err
}

func (r *rows) Close() error {
	_ = r.stream.Close() // says again what Read has said
	return r.file.Close()
}
