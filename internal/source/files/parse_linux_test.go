package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan"
)

func aclValue(version uint32, entries ...[3]uint32) []byte {
	value := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range entries {
		value = binary.LittleEndian.AppendUint16(value, uint16(e[0]))
		value = binary.LittleEndian.AppendUint16(value, uint16(e[1]))
		value = binary.LittleEndian.AppendUint32(value, e[2])
	}
	return value
}

func TestParseACL(t *testing.T) {
	t.Parallel()
	cases := []struct {
		value   []byte
		text    string
		minimal bool
		bad     bool
	}{
		{aclValue(2, [3]uint32{1, 7, aclNoID}, [3]uint32{4, 5, aclNoID}, [3]uint32{0x20, 4, aclNoID}), "user::rwx,group::r-x,other::r--", true, false},
		{
			aclValue(2, [3]uint32{1, 6, aclNoID}, [3]uint32{2, 5, 1000}, [3]uint32{4, 0, aclNoID}, [3]uint32{8, 2, 4294967294}, [3]uint32{0x10, 7, aclNoID}, [3]uint32{0x20, 1, aclNoID}),
			"user::rw-,user:1000:r-x,group::---,group:4294967294:-w-,mask::rwx,other::--x", false, false,
		},
		{aclValue(2), "", true, false},
		{aclValue(1), "", false, true},
		{nil, "", false, true},
		{[]byte{2, 0, 0, 0, 1}, "", false, true},
		{aclValue(2, [3]uint32{3, 7, 0}), "", false, true},
		{aclValue(2, [3]uint32{1, 8, 0}), "", false, true},
		{aclValue(2, [3]uint32{2, 7, aclNoID}), "", false, true},
	}
	for _, c := range cases {
		text, minimal, err := parseACL(c.value)
		if text != c.text || minimal != c.minimal || errors.Is(err, errACL) != c.bad {
			t.Errorf("%x: %q %v %v", c.value, text, minimal, err)
		}
	}
}

// What parseACL accepts can be made from its text again.
func FuzzParseACL(f *testing.F) {
	f.Add(aclValue(2, [3]uint32{1, 7, aclNoID}, [3]uint32{2, 5, 1000}, [3]uint32{0x10, 7, aclNoID}))
	f.Add([]byte{})
	tags := map[string]uint32{"user": aclUserObj, "group": aclGroupObj, "mask": aclMask, "other": aclOther}
	f.Fuzz(func(t *testing.T, value []byte) {
		text, _, err := parseACL(value)
		if err != nil {
			if text != "" {
				t.Errorf("%q with %v", text, err)
			}
			return
		}
		var entries [][3]uint32
		for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
			fields := strings.Split(line, ":")
			entry := [3]uint32{tags[fields[0]], 0, aclNoID}
			if fields[1] != "" {
				id, err := strconv.ParseUint(fields[1], 10, 32)
				if err != nil {
					t.Fatal(err)
				}
				entry[0], entry[2] = entry[0]*2, uint32(id) // the named tags are twice the others
			}
			for i, c := range fields[2] {
				if c != '-' {
					entry[1] |= 4 >> i
				}
			}
			entries = append(entries, entry)
		}
		again := aclValue(2, entries...)
		// Ids of entries that have none are not kept.
		for at := aclHeader; at < len(value); at += aclEntrySize {
			if tag := binary.LittleEndian.Uint16(value[at:]); tag != aclUser && tag != aclGroup {
				copy(again[at+4:at+8], value[at+4:at+8])
			}
		}
		if !bytes.Equal(again, value) {
			t.Errorf("%x became %q became %x", value, text, again)
		}
	})
}

func dirent(ino uint64, kind byte, name string) []byte {
	record := binary.NativeEndian.AppendUint64(nil, ino)
	record = binary.NativeEndian.AppendUint64(record, 0)
	record = binary.NativeEndian.AppendUint16(record, uint16(len(name)+20))
	return append(append(append(record, kind), name...), 0)
}

func TestParseDirents(t *testing.T) {
	t.Parallel()
	var names []string
	add := func(n []byte, kind capstan.EntryKind) { names = append(names, string(n)+" "+kind.String()) }
	records := bytes.Join([][]byte{
		dirent(1, unix.DT_DIR, "."), dirent(1, unix.DT_DIR, ".."), dirent(0, unix.DT_REG, "gone"),
		dirent(2, unix.DT_REG, "file"), dirent(3, unix.DT_UNKNOWN, "..."),
	}, nil)
	if err := parseDirents(records, add); err != nil || strings.Join(names, ",") != "file file,... unknown" {
		t.Errorf("%q %v", names, err)
	}
	for _, bad := range [][]byte{dirent(1, 8, "a/b"), dirent(1, 8, ""), {1}, dirent(1, 8, "cut")[:21], bytes.Repeat([]byte{1, 0}, 20)} {
		if err := parseDirents(bad, add); !errors.Is(err, errNames) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func FuzzParseDirents(f *testing.F) {
	f.Add(append(dirent(1, 4, "dir"), dirent(2, 8, "file")...))
	f.Fuzz(func(t *testing.T, records []byte) {
		_ = parseDirents(records, func(n []byte, _ capstan.EntryKind) {
			if len(n) == 0 || bytes.ContainsAny(n, "/\x00") || string(n) == "." || string(n) == ".." {
				t.Errorf("the name %q", n)
			}
		})
	})
}
