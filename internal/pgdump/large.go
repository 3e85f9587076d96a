package pgdump

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"capstan"
	"capstan/internal/pgtoc"
)

// LargeObject is one whose content is in the dump.
type LargeObject struct {
	OID   string // decimal
	File  string
	Codec capstan.Codec
}

// maxList bounds what is read of a list of large objects; a line has some 30 bytes.
const maxList = 1 << 30

// Large are the large objects, in the order of the dump's lists.
func (d *Dump) Large() ([]LargeObject, error) {
	var all []LargeObject
	for i := range d.Entries {
		e := &d.Entries[i]
		if !e.Data || e.Desc.Value != pgtoc.DescLargeObjects {
			continue
		}
		if !fs.ValidPath(e.File.Value) || strings.ContainsRune(e.File.Value, '/') {
			return nil, fmt.Errorf("%s: large objects are said to be listed in %q: %w", TOC, e.File.Value, capstan.ErrDamaged)
		}
		list, err := d.list(e.File.Value)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(list) {
			o, err := d.largeObject(strings.TrimSuffix(line, "\n"))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.File.Value, err)
			}
			all = append(all, o)
		}
	}
	return all, nil
}

// list reads a list of large objects, which pg_dump compresses or not.
func (d *Dump) list(name string) (string, error) {
	file, kind, _, err := d.find(name)
	if err != nil {
		return "", err
	}
	in, err := d.Rows(Table{File: file, Codec: kind})
	if err != nil {
		return "", err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxList+1))
	if err == nil && len(text) > maxList {
		err = fmt.Errorf("%s is larger than any: %w", name, capstan.ErrDamaged)
	}
	return string(text), err
}

// largeObject reads a line: the number, and the file of the content.
func (d *Dump) largeObject(line string) (o LargeObject, err error) {
	oid, name, ok := strings.Cut(line, " ")
	if _, err := strconv.ParseUint(oid, 10, 32); err != nil || !ok || !fs.ValidPath(name) || strings.ContainsRune(name, '/') {
		return o, fmt.Errorf("a line %q: %w", line, capstan.ErrDamaged)
	}
	o.OID = oid
	o.File, o.Codec, _, err = d.find(name)
	return o, err
}

// Content opens the content of a large object.
func (d *Dump) Content(o LargeObject) (io.ReadCloser, error) {
	return d.Rows(Table{File: o.File, Codec: o.Codec})
}

// find gives the file that holds what the dump calls name, with its size.
func (d *Dump) find(name string) (file string, kind capstan.Codec, size int64, err error) {
	for _, known := range suffixes {
		info, err := fs.Stat(d.files, name+known.suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", "", 0, err
		}
		return name + known.suffix, known.codec, info.Size(), nil
	}
	return "", "", 0, fmt.Errorf("%s is not there: %w", name, capstan.ErrDamaged)
}
