package catalog

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// FuzzList: a list of texts that is read is written and read as the same, whatever
// bytes are in it.
func FuzzList(f *testing.F) {
	for _, list := range [][]string{nil, {"/srv/data"}, {"\xff\x00", "", `"\`}} {
		text, err := encodeList(list)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add(`[{"base64":"!"}]`)
	f.Add(`[null,{}]`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := decodeList(text)
		if err != nil {
			return
		}
		again, err := encodeList(list)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeList(again); err != nil || !slices.Equal(back, list) {
			t.Fatalf("%q became %q, then %q, %v", text, list, back, err)
		}
	})
}

// FuzzHolder: the note of a lock says who holds it, or nothing; never does it fail the
// command that wanted the lock.
func FuzzHolder(f *testing.F) {
	text, err := json.Marshal(holder{Job: "nightly", PID: 7, Host: "here", Since: time.Unix(1_700_000_000, 0)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:20])
	f.Add([]byte(`{"pid":-1,"since":"0000-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h := parseHolder(data)
		if h.String() == "" {
			t.Fatalf("%q says nothing", data)
		}
		if h != (holder{}) && !json.Valid(data) {
			t.Fatalf("%q was taken for %+v", data, h)
		}
	})
}
