package disk

import (
	"fmt"
	"strings"
	"testing"
)

// FuzzMounts reads any table of mounts; a path is on the mount that is named for it,
// whatever bytes are in that name.
func FuzzMounts(f *testing.F) {
	f.Add([]byte("36 35 98:0 / / rw - ext4 /dev/x rw\n40 36 0:5 / /mnt/a\\040b rw shared:1 - nfs4 host:/x rw\n"), "/mnt/a b")
	f.Add([]byte("- \n \\ - -"), "/")
	f.Add([]byte(nil), "/x\\040")
	f.Fuzz(func(t *testing.T, table []byte, path string) {
		_ = mountKind(table, path)
		if !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) || strings.HasSuffix(path, "/") {
			return
		}
		var escaped strings.Builder
		for _, c := range []byte(path) {
			if strings.IndexByte(" \t\n\\", c) >= 0 {
				fmt.Fprintf(&escaped, "\\%03o", c)
			} else {
				escaped.WriteByte(c)
			}
		}
		if got := unescapeMount(escaped.String()); got != path {
			t.Fatalf("%q became %q", path, got)
		}
	})
}
