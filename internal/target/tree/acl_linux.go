package tree

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The extended attribute of a POSIX ACL, as Linux defines it in
// include/uapi/linux/posix_acl_xattr.h: a version, then entries of tag,
// permissions and id, all little-endian, in the order of their tags.
const (
	aclVersion = 2

	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20

	aclNoID = math.MaxUint32
)

type aclEntry struct {
	tag  uint16
	perm uint16 // rwx as in a mode, 0 to 7
	id   uint32 // aclNoID where the tag takes none
}

type acl []aclEntry

// parseACL reads the text form of acl(5) with numeric ids, entries separated
// by commas or newlines: "user::rwx,user:1000:r-x,group::r-x,mask::r-x,other::---".
// It also takes one-letter tags, a comment after "#", a name instead of the id
// when the id stands in a fourth field (as star writes it). The result is
// in the order that the kernel wants, complete and without duplicates.
func parseACL(text string) (acl, error) {
	var list acl
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		entry, err := parseACLEntry(line)
		if err != nil {
			return nil, fmt.Errorf("ACL entry %q: %w", line, err)
		}
		list = append(list, entry)
	}
	slices.SortFunc(list, func(a, b aclEntry) int {
		return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id))
	})
	if err := list.check(); err != nil {
		return nil, err
	}
	return list, nil
}

var (
	errACLFields = errors.New("not of the form tag:id:rwx")
	errACLTag    = errors.New("unknown tag")
	errACLID     = errors.New("the id is no number")
	errACLNoID   = errors.New("the tag takes no id")
	errACLPerm   = errors.New("the permissions are not of the form rwx")
	errACLTwice  = errors.New("an ACL has an entry twice")
	errACLBase   = errors.New("an ACL lacks the entry of the owner, the group or the others")
	errACLMask   = errors.New("an ACL with named entries lacks its mask")
)

func parseACLEntry(line string) (aclEntry, error) {
	fields := strings.Split(line, ":")
	if len(fields) < 3 || len(fields) > 4 {
		return aclEntry{}, errACLFields
	}
	name, qualifier := strings.TrimSpace(fields[0]), strings.TrimSpace(fields[1])
	entry := aclEntry{id: aclNoID}
	switch name {
	case "user", "u":
		entry.tag = aclUserObj
	case "group", "g":
		entry.tag = aclGroupObj
	case "mask", "m":
		entry.tag = aclMask
	case "other", "o":
		entry.tag = aclOther
	default:
		return aclEntry{}, errACLTag
	}
	if qualifier != "" {
		if entry.tag == aclMask || entry.tag == aclOther {
			return aclEntry{}, errACLNoID
		}
		if len(fields) == 4 {
			qualifier = strings.TrimSpace(fields[3])
		}
		id, err := strconv.ParseUint(qualifier, 10, 32)
		if err != nil || id == aclNoID {
			return aclEntry{}, errACLID
		}
		entry.tag, entry.id = entry.tag<<1, uint32(id)
	}
	perm, err := parsePerm(strings.TrimSpace(fields[2]))
	entry.perm = perm
	return entry, err
}

// parsePerm reads "r-x".
func parsePerm(s string) (uint16, error) {
	if len(s) != 3 {
		return 0, errACLPerm
	}
	perm := uint16(0)
	for i, letter := range []byte("rwx") {
		switch s[i] {
		case letter:
			perm |= 4 >> i
		case '-':
		default:
			return 0, errACLPerm
		}
	}
	return perm, nil
}

// check refuses what the kernel would refuse with a mere EINVAL. The list is sorted.
func (list acl) check() error {
	tags := uint16(0)
	for i, entry := range list {
		if i > 0 && entry.tag == list[i-1].tag && entry.id == list[i-1].id {
			return errACLTwice
		}
		tags |= entry.tag
	}
	const base = aclUserObj | aclGroupObj | aclOther
	switch {
	case tags&base != base:
		return errACLBase
	case tags&(aclUser|aclGroup) != 0 && tags&aclMask == 0:
		return errACLMask
	}
	return nil
}

// encode gives the value of the extended attribute.
func (list acl) encode() []byte {
	b := make([]byte, 0, 4+8*len(list))
	b = binary.LittleEndian.AppendUint32(b, aclVersion)
	for _, entry := range list {
		b = binary.LittleEndian.AppendUint16(b, entry.tag)
		b = binary.LittleEndian.AppendUint16(b, entry.perm)
		b = binary.LittleEndian.AppendUint32(b, entry.id)
	}
	return b
}

// owningGroup gives the permissions of the owning group: what the group bits of
// the mode must be limited to when the ACL itself cannot be set, since those
// bits show the mask, which may allow more.
func (list acl) owningGroup() uint32 {
	for _, entry := range list {
		if entry.tag == aclGroupObj {
			return uint32(entry.perm)
		}
	}
	return 0
}
