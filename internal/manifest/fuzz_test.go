package manifest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"capstan"
)

// Whatever lies on a medium: no panic, no path that leads out, and what is
// accepted can be written and read again unchanged.
func FuzzEntry(f *testing.F) {
	for _, e := range testEntries() {
		line, err := appendEntry(nil, &e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line[:min(len(line), 10_000)])
	}
	for _, line := range []string{
		entryText, `{"path":"a","kind":"file","outcome":"stored","x":[{"y":-0.5e+10},"\u00e9\ud83d\ude00\ud800\/"],"data":[]}`,
		`{"path":"\u0000","kind":"file"}`, `{"path":null,"size":1e3}`, `[]`, `{"uid":4294967296}`, `{"data":[[1,2],[2,1]],"size":9}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var d decoder
		e, err := d.entry(line)
		if err != nil {
			return
		}
		if !json.Valid(line) {
			t.Fatalf("accepted what is no JSON: %q", line)
		}
		again, err := appendEntry(nil, &e)
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", line, err)
		}
		if e.Archive == 0 {
			e.Location = capstan.Location{} // nowhere has no offset
		}
		back, err := d.entry(again)
		if err != nil || !reflect.DeepEqual(normal(back), normal(e)) {
			t.Fatalf("%q\nbecame %+v\nthen   %+v, %v", line, e, back, err)
		}
		if e.Path == "" || e.Path[0] == '/' || e.Path == ".." {
			t.Fatalf("path %q", e.Path)
		}
	})
}

// normal makes empty and absent lists the same.
func normal(e capstan.Entry) capstan.Entry {
	if len(e.Data) == 0 {
		e.Data = nil
	}
	if len(e.Parts) == 0 {
		e.Parts = nil
	}
	for i := range e.Xattrs {
		if len(e.Xattrs[i].Value) == 0 {
			e.Xattrs[i].Value = nil
		}
	}
	if len(e.Xattrs) == 0 {
		e.Xattrs = nil
	}
	return e
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(setText+archiveText+entryText+`{"type":"end","archives":1,"entries":1}`+"\n"), true)
	f.Add(encode(f, testEntries()[:5]), false)
	f.Add([]byte(setText), true)
	f.Add([]byte(`{"type":"set","format":9}`+"\n"), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, data []byte, plain bool) {
		if plain {
			data = compress(t, string(data))
		}
		set, archives, entries, err := readAll(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := Write(&out, set, archives, seq(entries)); err != nil {
			return // a set's own time may lie further ahead than RFC 3339 can write
		}
		if _, _, again, err := readAll(&out); err != nil || len(again) != len(entries) {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}

func FuzzSums(f *testing.F) {
	f.Add([]byte(sumsText))
	f.Add([]byte("\\" + sumsText))
	f.Fuzz(func(t *testing.T, data []byte) {
		sums, err := ParseSums(data)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := WriteSums(&out, sums); err != nil {
			t.Fatal(err)
		}
		if again, err := ParseSums(out.Bytes()); err != nil || !reflect.DeepEqual(again, sums) {
			t.Fatalf("%q: %v", data, err)
		}
	})
}

func FuzzSignature(f *testing.F) {
	file, err := testKey(f).Sign(testStatement())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := VerifySignature(data, []byte(sumsText)); err == nil && !bytes.Equal(data, file) {
			// Only someone with a key of his own can sign the same sums.
			if text, _, err := cutSignature(data); err != nil || bytes.HasPrefix(file, []byte(text)) {
				t.Fatalf("two forms of one signature: %q", data)
			}
		}
	})
}

func FuzzDeleted(f *testing.F) {
	f.Add([]byte("a\x00b/c\x00"))
	f.Add([]byte("../x\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		w := NewDeletedWriter(&out)
		for path, err := range ReadDeleted(bytes.NewReader(data)) {
			if err != nil {
				return
			}
			if err := w.Add(path); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("%q became %q, %v", data, &out, err)
		}
	})
}
