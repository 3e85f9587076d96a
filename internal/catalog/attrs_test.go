package catalog

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"capstan"
)

// FuzzAttrs feeds garbled attributes to the reader: it must end with an error or
// with an entry that packs and unpacks to itself.
func FuzzAttrs(f *testing.F) {
	full := capstan.Entry{
		Kind: capstan.KindFile, Mode: 0o644, ModTime: time.Unix(1, 2), ChangeTime: time.Unix(3, 4), Ino: 5, Links: 6, Size: 7,
		Hash: capstan.Hash{8}, Reason: "r", Link: "l", Major: 1, Minor: 2, Xattrs: []capstan.Xattr{{Name: "user.x", Value: []byte("y")}},
		ACL: "a", DefaultACL: "d", Sparse: true, Data: []capstan.Extent{{Offset: 1, Length: 2}},
		Location: capstan.Location{Offset: 9, Size: 10}, Parts: []capstan.Part{{Location: capstan.Location{Archive: 1, Offset: 2, Size: 3}, Start: 4, Length: 5}},
	}
	for _, e := range []capstan.Entry{{}, {Kind: capstan.KindDir, Links: 1}, full} {
		packed := append([]byte{3}, appendAttrs(nil, &e)...)
		f.Add(packed)
		f.Add(packed[:len(packed)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := capstan.Entry{Kind: capstan.KindFile, Size: 7}
		if _, err := unpackAttrs(data, &e); err != nil {
			return
		}
		again := capstan.Entry{Kind: capstan.KindFile, Size: 7, Location: capstan.Location{Archive: e.Archive}}
		if len(e.Parts) > 0 {
			again.Archive = 0
		}
		if _, err := unpackAttrs(append([]byte{3}, appendAttrs(nil, &e)...), &again); err != nil {
			t.Fatalf("%+v does not unpack: %v", e, err)
		}
		if !reflect.DeepEqual(e, again) {
			t.Fatalf("packed %+v\nunpacked %+v", e, again)
		}
	})
}

func TestAttrsRefused(t *testing.T) {
	t.Parallel()
	e := capstan.Entry{Kind: capstan.KindFile, Links: 1, Reason: "reason"}
	packed := append([]byte{3}, appendAttrs(nil, &e)...)
	for cut := range packed {
		if _, err := unpackAttrs(packed[:cut], &capstan.Entry{}); err == nil {
			t.Errorf("the first %d of %d bytes are taken as whole", cut, len(packed))
		}
	}
	newer := bytes.Clone(packed)
	newer[2] = 2<<4 | newer[2]&0xf
	unknown := append(bytes.Clone(packed), 99, 0)
	for name, data := range map[string][]byte{"a newer version": newer, "an unknown tag": unknown} {
		if _, err := unpackAttrs(data, &capstan.Entry{}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestAttrsSize holds an ordinary file's attributes to the size that the target
// of 120 bytes an entry was reckoned with.
func TestAttrsSize(t *testing.T) {
	t.Parallel()
	e := capstan.Entry{
		Kind: capstan.KindFile, Mode: 0o644, ModTime: time.Unix(1_763_000_000, 123_456_789), ChangeTime: time.Unix(1_763_100_000, 987_654_321),
		Ino: 1 << 30, Links: 1, Size: 100_000, Hash: capstan.Hash{1}, Location: capstan.Location{Archive: 3, Offset: 3 << 30, Size: 100_000},
	}
	if n := len(appendAttrs(nil, &e)); n > 65 {
		t.Errorf("%d bytes, at most 65 were reckoned", n)
	}
}
