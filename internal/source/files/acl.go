package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// The form of a POSIX ACL in the attributes system.posix_acl_access and
// system.posix_acl_default: a version, then entries of tag, permissions and id,
// all little-endian (Linux, include/uapi/linux/posix_acl_xattr.h).
const (
	aclVersion   = 2
	aclHeader    = 4
	aclEntrySize = 8
	aclNoID      = 0xffffffff
)

const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

var errACL = errors.New("malformed POSIX ACL")

// parseACL gives an ACL attribute in the text form of acl(5), comma-separated,
// with numeric ids: "user::rwx,user:1000:r-x,group::r-x,mask::r-x,other::r--".
// minimal is true for one that has only the three entries of the file mode.
func parseACL(value []byte) (text string, minimal bool, err error) {
	if len(value) < aclHeader || (len(value)-aclHeader)%aclEntrySize != 0 {
		return "", false, fmt.Errorf("%w: %d bytes long", errACL, len(value))
	}
	if version := binary.LittleEndian.Uint32(value); version != aclVersion {
		return "", false, fmt.Errorf("%w: version %d", errACL, version)
	}
	minimal = true
	var b []byte
	for rest := value[aclHeader:]; len(rest) > 0; rest = rest[aclEntrySize:] {
		tag := binary.LittleEndian.Uint16(rest)
		perm := binary.LittleEndian.Uint16(rest[2:])
		id := binary.LittleEndian.Uint32(rest[4:])
		var word string
		named := false
		switch tag {
		case aclUserObj:
			word = "user"
		case aclUser:
			word, named = "user", true
		case aclGroupObj:
			word = "group"
		case aclGroup:
			word, named = "group", true
		case aclMask:
			word = "mask"
		case aclOther:
			word = "other"
		default:
			return "", false, fmt.Errorf("%w: tag %#x", errACL, tag)
		}
		if perm > 7 || (named && id == aclNoID) {
			return "", false, fmt.Errorf("%w: permissions %#o of id %d", errACL, perm, id)
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = append(append(b, word...), ':')
		if named {
			b = strconv.AppendUint(b, uint64(id), 10)
		}
		b = append(b, ':', flag(perm, 4, 'r'), flag(perm, 2, 'w'), flag(perm, 1, 'x'))
		minimal = minimal && !named && tag != aclMask
	}
	return string(b), minimal, nil
}

func flag(perm, bit uint16, letter byte) byte {
	if perm&bit != 0 {
		return letter
	}
	return '-'
}
