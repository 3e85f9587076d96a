package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pgproxy"
	"capstan/internal/pgtoc"
)

// contents are what belongs into which file, by the table of contents that pg_dump has
// written.
type contents struct {
	data  []*datum
	large []string // files with lists of large objects
}

const tocName = "toc.dat"

var (
	// errLearnt ends a pg_dump of which all is known.
	errLearnt = errors.New("the table of contents is known now")
	// errUnsure says that pg_dump has to tell its statements itself.
	errUnsure = errors.New("the statement that reads a table is not known")
)

// newestKnown is the last pg_dump whose statements are known from its table of contents.
const newestKnown = 18

// deduce knows from the table of contents which statements pg_dump is about to read
// data with, of which it has sent the first. It is sure of tables that are locked and
// read whole; whatever else there is, pg_dump is to say itself (errUnsure).
func (d *dump) deduce(dir string, tables []*table, first pgproxy.Copy) (*contents, error) {
	if d.client.Version.Major > newestKnown {
		return nil, errUnsure
	}
	type name struct{ schema, table string }
	known := make(map[name]*table, len(tables))
	for _, t := range tables {
		known[name{t.schema, t.name}] = t
	}
	agreed := false
	c, err := readContents(d.env.Disk, dir, func(e *pgtoc.Entry) (pgproxy.Copy, error) {
		key := name{e.Namespace.Value, e.Tag.Value}
		t := known[key]
		if t == nil || !t.hasData() || t.configuration {
			return pgproxy.Copy{}, errUnsure
		}
		delete(known, key) // another entry of the same table is none that is known
		read, ok := pgproxy.Reading(t.quoted, e.Copy.Value)
		if !ok {
			return read, errUnsure
		}
		agreed = agreed || read == first
		return read, nil
	})
	if err == nil && !agreed {
		return nil, errUnsure
	}
	return c, err
}

// told knows which statement belongs into which file from the marks that pg_dump has
// put into them, and removes those.
func (d *dump) told(dir string, copies []pgproxy.Copy) (*contents, error) {
	used := make([]bool, len(copies))
	c, err := readContents(d.env.Disk, dir, func(e *pgtoc.Entry) (pgproxy.Copy, error) {
		path := filepath.Join(dir, e.File.Value)
		number, err := readMarker(d.env.Disk, path)
		if err != nil {
			return pgproxy.Copy{}, err
		}
		if number >= len(copies) || used[number] {
			return pgproxy.Copy{}, fmt.Errorf("%s holds the mark of statement %d", e.File.Value, number)
		}
		used[number] = true
		return copies[number], d.env.Disk.Remove(path)
	})
	if err != nil {
		return nil, err
	}
	if missing := slices.Index(used, false); missing >= 0 {
		return nil, fmt.Errorf("no file belongs to %s", copies[missing].SQL)
	}
	return c, nil
}

// readContents reads the table of contents in a directory that pg_dump has written, or
// is about to write the data into. reads gives the statement that reads what an entry
// is about.
func readContents(fs disk.FS, dir string, reads func(e *pgtoc.Entry) (pgproxy.Copy, error)) (c *contents, err error) {
	file, err := fs.Open(filepath.Join(dir, tocName))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	c = &contents{}
	_, err = pgtoc.Scan(io.NewSectionReader(file, 0, file.Size()), func(a *pgtoc.Archive, e *pgtoc.Entry) error {
		if strings.Contains(e.Definition.Value, leaked) {
			return leakedOption(a, e)
		}
		switch {
		case !e.Data || e.File.Value == "":
		case e.Desc.Value == pgtoc.DescLargeObjects:
			c.large = append(c.large, e.File.Value)
		case e.Desc.Value == pgtoc.DescTableData:
			read, err := reads(e)
			if err != nil {
				return err
			}
			c.data = append(c.data, &datum{Copy: read, file: e.File.Value, tag: e.Namespace.Value + "." + e.Tag.Value})
		default:
			return fmt.Errorf("pg_dump wrote data of a kind that is not known: %s %s", e.Desc.Value, e.Tag.Value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// markerLimit is longer than what pg_dump writes for one marker row.
const markerLimit = 1 << 10

func readMarker(fs disk.FS, path string) (int, error) {
	content, err := fs.ReadFile(path, markerLimit)
	if err != nil {
		return 0, err
	}
	number, ok := pgproxy.ReadMarker(content)
	if !ok {
		return 0, fmt.Errorf("%s holds no mark but %q", path, content)
	}
	return number, nil
}

// leaked is an option that newer minor releases keep hidden in their catalogs. A
// pg_dump that does not know it writes it into the definitions, and servers without it
// refuse them.
const leaked = "SET (pg_attver="

func leakedOption(a *pgtoc.Archive, e *pgtoc.Entry) error {
	return &capstan.Error{
		Op: "dump", Object: e.Desc.Value + " " + e.Namespace.Value + "." + e.Tag.Value,
		Err:  fmt.Errorf("pg_dump %s does not know the option pg_attver of this server (%s) and would write it down; other servers refuse it", a.DumpVersion.Value, a.ServerVersion.Value),
		Next: "use the pg_dump of the server's own version (--pg-dump)",
	}
}

// sealContents puts the table of contents in its place, durably, with the compression
// that the files have.
func (d *dump) sealContents() (r FileReceipt, err error) {
	c := pgtoc.CompressionNone
	switch d.options.Codec {
	case capstan.CodecZstd:
		c = pgtoc.CompressionZstd
	case capstan.CodecGzip:
		c = pgtoc.CompressionGzip
	case capstan.CodecNone:
	}
	path := d.directory.path(tocName)
	from, err := d.env.Disk.Open(path)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	part := path + ".new"
	to, err := d.env.Disk.Create(part)
	if err != nil {
		return r, err
	}
	sum := sha256.New()
	err = pgtoc.Recompress(io.MultiWriter(to, sum), io.NewSectionReader(from, 0, from.Size()), c)
	if err == nil {
		err = to.Sync()
	}
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = d.env.Disk.Rename(part, path)
	}
	return receiptOf(to.Size(), sum), err
}

func receiptOf(bytes int64, sum hash.Hash) FileReceipt {
	return FileReceipt{Bytes: bytes, SHA256: hex.EncodeToString(sum.Sum(nil))}
}
