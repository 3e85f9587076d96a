package pgtoc

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"

	"capstan"
)

// Append appends the file that the archive is to dst. Fields that the version does
// not have are left out.
func (a *Archive) Append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = append(dst, a.Version.Major, a.Version.Minor, a.Version.Revision, intSize, offSize, a.Format)
	dst = a.appendCompression(dst)
	for _, field := range a.Created {
		dst = appendInt(dst, field)
	}
	dst = appendTexts(dst, a.Database, a.ServerVersion, a.DumpVersion)
	dst = appendInt(dst, int32(len(a.Entries))) //nolint:gosec // pg_dump counts in as many bits
	for i := range a.Entries {
		dst = a.Entries[i].append(dst, a.Version)
	}
	return dst
}

func (e *Entry) append(dst []byte, v Version) []byte {
	dst = appendInt(dst, e.DumpID)
	dumper := int32(0)
	if e.Data {
		dumper = 1
	}
	dst = appendInt(dst, dumper)
	dst = appendTexts(dst, e.CatalogOID, e.OID, e.Tag, e.Desc)
	dst = appendInt(dst, int32(e.Section))
	dst = appendTexts(dst, e.Definition, e.Drop, e.Copy, e.Namespace, e.Tablespace, e.Method)
	if v.hasKind() {
		dst = appendInt(dst, e.Kind)
	}
	dst = appendTexts(dst, e.Owner, e.WithOIDs)
	for _, id := range e.DependsOn {
		dst = appendTexts(dst, Some(strconv.Itoa(int(id))))
	}
	return appendTexts(dst, Text{}, e.File)
}

// Recompress copies a toc.dat and sets what its header says of the compression. It
// looks no further than at that.
func Recompress(to io.Writer, from io.Reader, c Compression) error {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(from, head); err != nil {
		return fmt.Errorf("toc.dat has no header: %w: %w", err, capstan.ErrDamaged)
	}
	a := &Archive{Version: Version{head[len(magic)], head[len(magic)+1], head[len(magic)+2]}}
	if string(head[:len(magic)]) != magic || !a.Version.known() {
		return fmt.Errorf("toc.dat begins with %q: %w", head, capstan.ErrDamaged)
	}
	a.Compress(c)
	field := a.appendCompression(nil)
	if _, err := io.CopyN(io.Discard, from, int64(len(field))); err != nil {
		return fmt.Errorf("toc.dat has no header: %w: %w", err, capstan.ErrDamaged)
	}
	if _, err := to.Write(append(head, field...)); err != nil {
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, window))
	return err
}

// headSize is that of what comes before the compression, in every version.
const headSize = len(magic) + 6

func (a *Archive) appendCompression(dst []byte) []byte {
	if a.Version.hasAlgorithm() {
		return append(dst, byte(a.Compression))
	}
	return appendInt(dst, int32(a.Compression))
}

// appendInt writes a sign, then the amount, lowest byte first.
func appendInt(dst []byte, n int32) []byte {
	sign, amount := byte(0), int64(n)
	if amount < 0 {
		sign, amount = 1, -amount
	}
	return binary.LittleEndian.AppendUint32(append(dst, sign), uint32(amount)) //nolint:gosec // an amount of 31 bits
}

func appendTexts(dst []byte, texts ...Text) []byte {
	for _, text := range texts {
		if !text.Valid {
			dst = appendInt(dst, -1)
			continue
		}
		dst = append(appendInt(dst, int32(len(text.Value))), text.Value...) //nolint:gosec // pg_dump counts in as many bits
	}
	return dst
}
