package dir

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"capstan"
)

// FuzzMarker: a marker that is taken holds a UUID in its one form, and is written and
// read as the same; what is not taken is refused.
func FuzzMarker(f *testing.F) {
	good := marker{
		Format: 1, ID: "0f6a1b5e-7d0c-4a52-9f39-0c8f1f4f2d11", Created: time.Unix(1_700_000_000, 0).UTC(), Catalogs: []string{"8d969eef6ecad3c29a3a629280e686cf"},
	}
	text, err := good.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	for _, seed := range []string{`{"format":2}`, `{"format":1,"id":"{0F6A1B5E-7D0C-4A52-9F39-0C8F1F4F2D11}"}`, `{"format":1,"id":"urn:uuid:0f6a1b5e-7d0c-4a52-9f39-0c8f1f4f2d11","catalogs":null}`, `[]`, ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMarker("marker", data)
		if err != nil {
			if !errors.Is(err, capstan.ErrRefused) {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		id, err := uuid.Parse(string(m.ID))
		if err != nil || id.String() != string(m.ID) || m.Format != markerFormat {
			t.Fatalf("%q was taken for %+v", data, m)
		}
		text, err := m.encode()
		if err != nil {
			return // a time that JSON takes and does not give
		}
		again, err := parseMarker("marker", text)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%q became %+v\nthen %+v, %v", data, m, again, err)
		}
	})
}

// FuzzOwner: no bytes make a set somebody's that do not name it and him.
func FuzzOwner(f *testing.F) {
	const set = capstan.SetID("2026-11_000001")
	for _, o := range []owner{{ownerFormat, set, "8d96", time.Unix(1_700_000_000, 0)}, {ownerFormat, "2026-11_000002", "8d96", time.Time{}}, {9, set, "x", time.Time{}}} {
		text, err := json.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"format":1,"set":"2026-11_000001","owner":"?"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		by := parseOwner(data, set)
		if by == "" {
			t.Fatalf("%q is nobody's", data)
		}
		if by == stranger {
			return
		}
		text, err := json.Marshal(owner{Format: ownerFormat, Set: set, Owner: by})
		if err != nil || parseOwner(text, set) != by {
			t.Fatalf("%q is %q's, whose own file is not: %v", data, by, err)
		}
		if other := parseOwner(data, "2026-11_000002"); other != stranger {
			t.Fatalf("%q makes another set %q's", data, other)
		}
	})
}
