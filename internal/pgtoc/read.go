package pgtoc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"capstan"
)

// Parse reads a whole toc.dat. The Archive does not refer to data.
func Parse(data []byte) (*Archive, error) {
	r := &reader{data: data}
	a := &Archive{}
	count := r.header(a)
	// An entry has at least 17 numbers of 5 bytes or so: a count beyond what the file
	// can hold allocates nothing.
	if r.err == nil && (count < 0 || int(count) > len(data)/minEntry) {
		r.fail("it claims %d entries", count)
	}
	if r.err == nil {
		a.Entries = make([]Entry, 0, count)
	}
	var e Entry
	for i := int32(0); i < count && r.err == nil; i++ {
		e.DependsOn = nil // that of the last entry is its own
		r.entry(a.Version, &e)
		a.Entries = append(a.Entries, e)
	}
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	if count == 0 {
		a.Entries = nil
	}
	return a, nil
}

// Scan reads a toc.dat from its beginning and calls each with one entry after the
// other, which is valid until each returns; an error of each ends it. It gives the
// archive without entries, and needs memory for one of them.
func Scan(from io.Reader, each func(a *Archive, e *Entry) error) (*Archive, error) {
	r := &reader{more: from}
	a := &Archive{}
	count := r.header(a)
	if r.err == nil && count < 0 {
		r.fail("it claims %d entries", count)
	}
	var e Entry
	for i := int32(0); i < count && r.err == nil; i++ {
		e.DependsOn = e.DependsOn[:0]
		r.entry(a.Version, &e)
		if r.err == nil {
			r.err = each(a, &e)
		}
	}
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return a, nil
}

// minEntry is less than any entry takes: its numbers and the lengths of its strings.
const minEntry = 16 * (intSize + 1)

// reader has a sticky error; after it, everything it gives is zero.
type reader struct {
	data []byte    // what is there of the file
	base int       // where in the file data begins
	at   int       // in data
	more io.Reader // what comes after data; nil: nothing
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("toc.dat at byte %d: %s: %w", r.base+r.at, fmt.Sprintf(format, args...), capstan.ErrDamaged)
	}
}

// take gives the next n bytes, until it is called again.
func (r *reader) take(n int) []byte {
	if r.err == nil && n > len(r.data)-r.at && r.more != nil {
		r.fill(n)
	}
	if r.err == nil && n > len(r.data)-r.at {
		r.fail("it ends %d bytes short", n-(len(r.data)-r.at))
	}
	if r.err != nil {
		return nil
	}
	taken := r.data[r.at : r.at+n]
	r.at += n
	return taken
}

// window is how much of a file is there at a time, as a rule.
const window = 64 << 10

// fill reads on until n bytes are there, or the end of the file. What is there grows
// only by what came: a length that the file does not hold allocates nothing.
func (r *reader) fill(n int) {
	r.data = append(r.data[:0], r.data[r.at:]...)
	r.base, r.at = r.base+r.at, 0
	for len(r.data) < n && r.more != nil {
		if cap(r.data)-len(r.data) < window/2 {
			r.data = slices.Grow(r.data, max(window, len(r.data)))
		}
		read, err := r.more.Read(r.data[len(r.data):cap(r.data)])
		r.data = r.data[:len(r.data)+read]
		switch {
		case errors.Is(err, io.EOF):
			r.more = nil
		case err != nil:
			r.err = err
			return
		}
	}
}

// end fails if anything is left.
func (r *reader) end() {
	if r.err == nil && r.more != nil {
		r.fill(len(r.data) - r.at + 1)
	}
	if r.err == nil && r.at != len(r.data) {
		r.fail("%d bytes or more follow its last entry", len(r.data)-r.at)
	}
}

func (r *reader) byte() byte {
	b := r.take(1)
	if b == nil {
		return 0
	}
	return b[0]
}

// int reads a number: a sign, then its amount, lowest byte first.
func (r *reader) int() int32 {
	b := r.take(1 + intSize)
	if b == nil {
		return 0
	}
	amount := binary.LittleEndian.Uint32(b[1:])
	switch {
	case b[0] == 0 && amount <= math.MaxInt32:
		return int32(amount)
	case b[0] == 1 && amount > 0 && amount <= math.MaxInt32:
		return -int32(amount)
	}
	r.at -= 1 + intSize
	r.fail("no number is written as % x", b)
	return 0
}

// text reads a string; one that is equal to last costs no memory.
func (r *reader) text(last Text) Text {
	length := r.int()
	switch {
	case r.err != nil || length == -1:
		return Text{}
	case length < 0:
		r.fail("a string of length %d", length)
		return Text{}
	}
	value := r.take(int(length))
	if r.err == nil && last.Valid && last.Value == string(value) {
		return last
	}
	return Text{Value: string(value), Valid: r.err == nil}
}

func (r *reader) header(a *Archive) (count int32) {
	if string(r.take(len(magic))) != magic {
		r.at = 0
		r.fail("it does not begin with %s", magic)
		return 0
	}
	a.Version = Version{r.byte(), r.byte(), r.byte()}
	if r.err == nil && !a.Version.known() {
		r.fail("its format %s is not known (1.14 to 1.16 are)", a.Version)
	}
	if i, o := r.byte(), r.byte(); r.err == nil && (i != intSize || o != offSize) {
		r.fail("numbers of %d and offsets of %d bytes", i, o)
	}
	a.Format = r.byte()
	if a.Version.hasAlgorithm() {
		a.Compression = Compression(r.byte())
	} else {
		a.Compression = Compression(r.int())
	}
	for i := range a.Created {
		a.Created[i] = r.int()
	}
	a.Database, a.ServerVersion, a.DumpVersion = r.text(Text{}), r.text(Text{}), r.text(Text{})
	return r.int()
}

// entry reads the next entry in the place of the last, whose dependencies are cleared.
func (r *reader) entry(v Version, e *Entry) {
	e.DumpID = r.int()
	switch dumper := r.int(); dumper {
	case 0, 1:
		e.Data = dumper == 1
	default:
		r.fail("entry %d: data is %d", e.DumpID, dumper)
	}
	r.texts(&e.CatalogOID, &e.OID, &e.Tag, &e.Desc)
	e.Section = Section(r.int())
	r.texts(&e.Definition, &e.Drop, &e.Copy, &e.Namespace, &e.Tablespace, &e.Method)
	if v.hasKind() {
		e.Kind = r.int()
	}
	r.texts(&e.Owner, &e.WithOIDs)
	for r.err == nil {
		dependency := r.text(Text{})
		if !dependency.Valid {
			break
		}
		id, err := strconv.ParseInt(dependency.Value, 10, 32)
		if err != nil || strconv.FormatInt(id, 10) != dependency.Value {
			r.fail("entry %d depends on %q", e.DumpID, dependency.Value)
		}
		e.DependsOn = append(e.DependsOn, int32(id))
	}
	r.texts(&e.File)
}

func (r *reader) texts(all ...*Text) {
	for _, text := range all {
		*text = r.text(*text)
	}
}
