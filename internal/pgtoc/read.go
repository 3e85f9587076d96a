package pgtoc

import (
	"encoding/binary"
	"fmt"
	"math"
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
	for i := int32(0); i < count && r.err == nil; i++ {
		a.Entries = append(a.Entries, r.entry(a.Version))
	}
	if r.err == nil && r.at != len(data) {
		r.fail("%d bytes follow its last entry", len(data)-r.at)
	}
	if r.err != nil {
		return nil, r.err
	}
	return a, nil
}

// minEntry is less than any entry takes: its numbers and the lengths of its strings.
const minEntry = 16 * (intSize + 1)

// reader has a sticky error; after it, everything it gives is zero.
type reader struct {
	data []byte
	at   int
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("toc.dat at byte %d: %s: %w", r.at, fmt.Sprintf(format, args...), capstan.ErrDamaged)
	}
}

// take gives the next n bytes.
func (r *reader) take(n int) []byte {
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

func (r *reader) text() Text {
	length := r.int()
	switch {
	case r.err != nil || length == -1:
		return Text{}
	case length < 0:
		r.fail("a string of length %d", length)
		return Text{}
	}
	return Text{Value: string(r.take(int(length))), Valid: r.err == nil}
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
	a.Database, a.ServerVersion, a.DumpVersion = r.text(), r.text(), r.text()
	return r.int()
}

func (r *reader) entry(v Version) Entry {
	e := Entry{DumpID: r.int()}
	switch dumper := r.int(); dumper {
	case 0:
	case 1:
		e.Data = true
	default:
		r.fail("entry %d: data is %d", e.DumpID, dumper)
	}
	e.CatalogOID, e.OID, e.Tag, e.Desc = r.text(), r.text(), r.text(), r.text()
	e.Section = Section(r.int())
	e.Definition, e.Drop, e.Copy = r.text(), r.text(), r.text()
	e.Namespace, e.Tablespace, e.Method = r.text(), r.text(), r.text()
	if v.hasKind() {
		e.Kind = r.int()
	}
	e.Owner, e.WithOIDs = r.text(), r.text()
	for r.err == nil {
		dependency := r.text()
		if !dependency.Valid {
			break
		}
		id, err := strconv.ParseInt(dependency.Value, 10, 32)
		if err != nil || strconv.FormatInt(id, 10) != dependency.Value {
			r.fail("entry %d depends on %q", e.DumpID, dependency.Value)
		}
		e.DependsOn = append(e.DependsOn, int32(id))
	}
	e.File = r.text()
	return e
}
