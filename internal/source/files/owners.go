package files

import (
	"os/user"
	"strconv"
)

// owners looks up the names of users and groups and remembers the answers,
// also that there is none. It serves one goroutine.
type owners struct {
	users, groups map[uint32]string
}

func (o *owners) user(uid uint32) string {
	name, known := o.users[uid]
	if !known {
		if found, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
			name = found.Username
		}
		if o.users == nil {
			o.users = map[uint32]string{}
		}
		o.users[uid] = name
	}
	return name
}

func (o *owners) group(gid uint32) string {
	name, known := o.groups[gid]
	if !known {
		if found, err := user.LookupGroupId(strconv.FormatUint(uint64(gid), 10)); err == nil {
			name = found.Name
		}
		if o.groups == nil {
			o.groups = map[uint32]string{}
		}
		o.groups[gid] = name
	}
	return name
}
