package pgdata_test

import (
	"encoding/binary"
	"testing"

	"capstan/internal/pgdata"
)

func FuzzWALPage(f *testing.F) {
	page := binary.LittleEndian.AppendUint16(nil, 0xD110)
	page = binary.LittleEndian.AppendUint16(page, 2)
	page = binary.LittleEndian.AppendUint32(page, 7)
	page = binary.LittleEndian.AppendUint64(page, 0x2000000)
	f.Add(page)
	f.Add(page[:15])
	f.Fuzz(func(t *testing.T, data []byte) {
		at, timeline, ok := pgdata.ParseWALPage(data)
		if string(data) == string(page) && (!ok || at != 0x2000000 || timeline != 7) {
			t.Errorf("%s, %d, %t", at, timeline, ok)
		}
		if len(data) < pgdata.WALPageHeader && ok {
			t.Error("half a page was read")
		}
	})
}
