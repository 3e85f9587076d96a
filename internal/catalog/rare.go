package catalog

import (
	"encoding/binary"
	"fmt"

	"capstan"
)

// The attributes that few entries have, each as a tag, a length, and bytes. The
// numbers are stored in catalogs and never change.
const (
	rareReason     = 1
	rareLink       = 2
	rareDevice     = 3 // major, minor
	rareXattr      = 4 // length of the name, name, value; once for each
	rareACL        = 5
	rareDefaultACL = 6
	rareSparse     = 7 // for each data range its distance from the one before, and its length
	rarePart       = 8 // archive, offset, size, start, length; once for each
)

func isRare(e *capstan.Entry) bool {
	return e.Reason != "" || e.Link != "" || e.Major != 0 || e.Minor != 0 || len(e.Xattrs) > 0 ||
		e.ACL != "" || e.DefaultACL != "" || e.Sparse || len(e.Parts) > 0
}

func appendRare(b []byte, e *capstan.Entry) []byte {
	text := func(tag uint64, s string) {
		if s != "" {
			b = binary.AppendUvarint(binary.AppendUvarint(b, tag), uint64(len(s)))
			b = append(b, s...)
		}
	}
	numbers := func(tag uint64, values ...int64) {
		var body []byte
		for _, v := range values {
			body = binary.AppendUvarint(body, uint64(v))
		}
		b = binary.AppendUvarint(binary.AppendUvarint(b, tag), uint64(len(body)))
		b = append(b, body...)
	}
	text(rareReason, e.Reason)
	text(rareLink, e.Link)
	if e.Major != 0 || e.Minor != 0 {
		numbers(rareDevice, int64(e.Major), int64(e.Minor))
	}
	for _, x := range e.Xattrs {
		body := binary.AppendUvarint(nil, uint64(len(x.Name)))
		body = append(append(body, x.Name...), x.Value...)
		text(rareXattr, string(body))
	}
	text(rareACL, e.ACL)
	text(rareDefaultACL, e.DefaultACL)
	if e.Sparse {
		ranges := make([]int64, 0, 2*len(e.Data))
		end := int64(0)
		for _, x := range e.Data {
			ranges = append(ranges, x.Offset-end, x.Length)
			end = x.Offset + x.Length
		}
		numbers(rareSparse, ranges...)
	}
	for _, part := range e.Parts {
		numbers(rarePart, int64(part.Archive), part.Offset, part.Size, part.Start, part.Length)
	}
	return b
}

// rare reads to the end of the packed attributes.
func (p *packed) rare(e *capstan.Entry) {
	if len(p.b) == 0 && p.err == nil {
		p.fail()
	}
	for len(p.b) > 0 && p.err == nil {
		tag := p.uvarint()
		body := &packed{b: p.take(p.uvarint())}
		if p.err != nil {
			return
		}
		switch tag {
		case rareReason:
			e.Reason = string(body.b)
		case rareLink:
			e.Link = string(body.b)
		case rareDevice:
			e.Major, e.Minor = uint32(body.uvarint()), uint32(body.uvarint())
		case rareXattr:
			name := body.take(body.uvarint())
			e.Xattrs = append(e.Xattrs, capstan.Xattr{Name: string(name), Value: append([]byte{}, body.b...)})
		case rareACL:
			e.ACL = string(body.b)
		case rareDefaultACL:
			e.DefaultACL = string(body.b)
		case rareSparse:
			e.Sparse = true
			body.ranges(e)
		case rarePart:
			e.Parts = append(e.Parts, body.part())
		default:
			p.b, p.err = nil, fmt.Errorf("packed attributes with unknown tag %d", tag)
		}
		if body.err != nil {
			p.err = body.err
		}
	}
}

func (p *packed) ranges(e *capstan.Entry) {
	end := int64(0)
	for len(p.b) > 0 {
		x := capstan.Extent{Offset: end + int64(p.uvarint()), Length: int64(p.uvarint())}
		end = x.Offset + x.Length
		e.Data = append(e.Data, x)
	}
}

func (p *packed) part() capstan.Part {
	var part capstan.Part
	part.Archive = capstan.ArchiveNumber(p.uvarint())
	part.Offset, part.Location.Size = int64(p.uvarint()), int64(p.uvarint())
	part.Start, part.Length = int64(p.uvarint()), int64(p.uvarint())
	return part
}
