package pgslot

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"capstan/internal/pgdata"
)

// FuzzRecord: a record that is taken is whole, is that of the quarantine asked for,
// and comes back from what is written of it.
func FuzzRecord(f *testing.F) {
	const id = "slot-20261120T074000"
	good := Record{
		Format: recordFormat, ID: id, Dir: "/var/lib/postgresql/17/main", System: 7, Slot: "a_slot", Began: time.Unix(1_700_000_000, 0).UTC(),
		Step: StepMoved, RestartLSN: 0x16B374D848, ConfirmedFlush: 5, Old: 11, New: 12,
	}
	text, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)-9])
	f.Add([]byte(`{"format":1,"id":"` + id + `","slot":"../x","step":"moved","old_inode":1,"new_inode":2}`))
	f.Add([]byte(`{"format":1,"restart_lsn":"x/y"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data, id)
		if err != nil {
			return
		}
		if r.ID != id || !pgdata.ValidSlotName(r.Slot) || r.Old == 0 || r.New == 0 {
			t.Fatalf("%q was taken for %+v", data, r)
		}
		text, err := json.Marshal(r)
		if err != nil {
			return // a time that JSON takes and does not give
		}
		again, err := parseRecord(text, id)
		if err != nil || !again.Began.Equal(r.Began) {
			t.Fatalf("%q became %+v\nthen %+v, %v", data, r, again, err)
		}
		if again.Began = r.Began; !reflect.DeepEqual(again, r) {
			t.Fatalf("%q became %+v\nthen %+v", data, r, again)
		}
	})
}

// FuzzMap counts what a spill file of any bytes holds: every record once, in no more
// memory than a file of that size may take.
func FuzzMap(f *testing.F) {
	f.Add([]byte(nil), 17)
	f.Add(bytes.Repeat([]byte{1, 0, 0, 0}, 100), 13)
	f.Fuzz(func(t *testing.T, data []byte, major int) {
		if major < 13 || major > 18 {
			return
		}
		p := &Place{Major: major, Segment: 16 << 20}
		o := Origin{Changes: map[string]int64{}}
		if err := p.readRecords(t.Context(), bytes.NewReader(data), &o); err != nil {
			t.Fatal(err)
		}
		var changes, relations int64
		for _, n := range o.Changes {
			changes += n
		}
		for _, r := range o.Relations {
			relations += r.Changes
		}
		if changes != o.Records || relations+o.Others > o.Records || o.Records > int64(len(data)) || len(o.Relations) > keepRelations {
			t.Fatalf("%d bytes hold %+v", len(data), o)
		}
	})
}
