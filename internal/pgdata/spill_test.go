package pgdata_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"testing"

	"capstan/internal/pgdata"
)

func TestSpillName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]pgdata.SpillName{
		"xid-407989064-lsn-42D1E-20000000.spill":     {XID: 407989064, Start: 0x42D1E20000000},
		"xid-776-lsn-0-2000000.spill":                {XID: 776, Start: 0x2000000},
		"xid-4294967295-lsn-FFFFFFFF-FF000000.spill": {XID: 1<<32 - 1, Start: 0xFFFFFFFFFF000000},
		"xid-1-lsn-0-0.spill":                        {XID: 1},
		"xid-3-lsn-A-0.spill":                        {XID: 3, Start: 0xA00000000},
	} {
		if got, ok := pgdata.ParseSpillName(name); !ok || got != want || got.String() != name {
			t.Errorf("%s: %+v, %t, %s", name, got, ok, got)
		}
	}
	for _, name := range []string{
		"", "state", "xid-1-lsn-0-0.spil", "xid-1-lsn-0-0.spill.bak", "xid-01-lsn-0-0.spill", "xid-1-lsn-a-0.spill", "xid--1-lsn-0-0.spill",
		"xid-1-lsn-0.spill", "xid-1-lsn--0.spill", "xid-4294967296-lsn-0-0.spill", "xid-1-lsn-0-100000000.spill", "xid-1-lsn-0-0-0.spill",
		"../xid-1-lsn-0-0.spill", "xid-1-lsn-0-0/.spill", "xid-+1-lsn-0-0.spill", "xid-1-snap", "xid-1-lsn-0-00.spill", "xid-1-lsn-0x1-0.spill",
	} {
		if got, ok := pgdata.ParseSpillName(name); ok {
			t.Errorf("%q gave %+v", name, got)
		}
	}
}

func TestSegmentName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		timeline, size uint32
		at             pgdata.LSN
		want           string
	}{
		{1, 16 << 20, 0x2000000, "000000010000000000000002"},
		{1, 16 << 20, 0x2FFFFFF, "000000010000000000000002"},
		{3, 16 << 20, 0x42D1E20000000, "0000000300042D1E00000020"},
		{1, 16 << 20, 0x1FF000000, "0000000100000001000000FF"},
		{1, 1 << 20, 0x1FFF00000, "000000010000000100000FFF"},
		{1, 1 << 30, 0x1C0000000, "000000010000000100000003"},
		{0xA, 64 << 20, 0x104000000, "0000000A0000000100000001"},
	} {
		if got := pgdata.SegmentName(c.timeline, c.at, c.size); got != c.want {
			t.Errorf("%d %s of %d: %s, want %s", c.timeline, c.at, c.size, got, c.want)
		}
	}
	if at := pgdata.SegmentStart(0x2FFFFFF, 16<<20); at != 0x2000000 {
		t.Errorf("%s", at)
	}
}

// The files hold up to two records of each action of a real spill file.
func TestSpillReader(t *testing.T) {
	t.Parallel()
	for major, xid := range map[int]pgdata.Relation{
		13: {1663, 13383, 16393}, 14: {1663, 13695, 16392}, 15: {1663, 5, 16392}, 16: {1663, 5, 16392}, 17: {1663, 5, 16392}, 18: {1663, 5, 16392},
	} {
		data := golden(t, "spill-xid", major)
		want := map[pgdata.Action]int{"insert": 2, "update": 2, "delete": 2, "message": 1, "truncate": 1, "internal": 2, "invalidation": 2}
		if major == 13 {
			delete(want, "invalidation")
		}
		got, bytesRead := map[pgdata.Action]int{}, int64(0)
		r := pgdata.NewSpillReader(bytes.NewReader(data), major, 0x2000000, 16<<20)
		for {
			record, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%d: %v", major, err)
			}
			got[record.Action]++
			bytesRead += record.Size
			changes := record.Action == pgdata.ActionInsert || record.Action == pgdata.ActionUpdate || record.Action == pgdata.ActionDelete
			if changes && (record.Relation.Tablespace != xid.Tablespace || record.Relation.Database != xid.Database || record.Relation.Number < 16384) {
				t.Errorf("%d: %+v", major, record)
			}
		}
		if !maps.Equal(got, want) || bytesRead != int64(len(data)) {
			t.Errorf("%d: %v, %d of %d bytes", major, got, bytesRead, len(data))
		}
	}
}

func TestSpillReaderDamage(t *testing.T) {
	t.Parallel()
	whole := golden(t, "spill-xid", 17)
	all := func(data []byte, major int, start pgdata.LSN) (n int, err error) {
		r := pgdata.NewSpillReader(bytes.NewReader(data), major, start, 16<<20)
		for {
			if _, err = r.Next(); err != nil {
				_, again := r.Next()
				if again != err { //nolint:errorlint // the very same
					t.Errorf("%v, then %v", err, again)
				}
				return n, err
			}
			n++
		}
	}
	ends := map[int]bool{0: true}
	for at := 0; at < len(whole); {
		at += int(binary.LittleEndian.Uint64(whole[at:]))
		ends[at] = true
	}
	for n := range whole {
		if _, err := all(whole[:n], 17, 0x2000000); ends[n] != errors.Is(err, io.EOF) || ends[n] == errors.Is(err, pgdata.ErrDamaged) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if n, err := all(whole, 17, 0x3000000); n != 0 || !errors.Is(err, pgdata.ErrDamaged) {
		t.Errorf("of another segment: %d, %v", n, err)
	}
	for _, size := range []uint64{0, 87, 1 << 40, 1 << 63} {
		data := append([]byte(nil), whole...)
		binary.LittleEndian.PutUint64(data, size)
		if n, err := all(data, 17, 0x2000000); n != 0 || !errors.Is(err, pgdata.ErrDamaged) {
			t.Errorf("size %d: %d, %v", size, n, err)
		}
	}
	data := append([]byte(nil), whole...)
	data[16] = 12
	if _, err := all(data, 17, 0x2000000); !errors.Is(err, pgdata.ErrDamaged) {
		t.Errorf("action 12: %v", err)
	}
}

func FuzzSpillName(f *testing.F) {
	f.Add("xid-407989064-lsn-42D1E-20000000.spill")
	f.Add("state")
	f.Fuzz(func(t *testing.T, name string) {
		if n, ok := pgdata.ParseSpillName(name); ok && n.String() != name {
			t.Errorf("%q is read as %q", name, n)
		}
	})
}

func FuzzSpillReader(f *testing.F) {
	f.Add(golden(f, "spill-xid", 13), 13)
	f.Add(golden(f, "spill-xid", 18), 18)
	f.Fuzz(func(t *testing.T, data []byte, major int) {
		r := pgdata.NewSpillReader(bytes.NewReader(data), major, 0x2000000, 16<<20)
		read := int64(0)
		for {
			record, err := r.Next()
			if err != nil {
				break
			}
			if read += record.Size; record.Size <= 0 || read > int64(len(data)) {
				t.Fatalf("%+v, %d bytes read", record, read)
			}
		}
	})
}
