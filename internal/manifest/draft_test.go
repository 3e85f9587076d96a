package manifest

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"reflect"
	"testing"

	"capstan"
)

func draftOf(t *testing.T, entries []capstan.Entry) ([]byte, int64) {
	t.Helper()
	var out bytes.Buffer
	d, err := NewDraft(&out)
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		if err := d.Add(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	n, err := d.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Add(&capstan.Entry{}); err == nil {
		t.Error("a closed draft takes entries")
	}
	return out.Bytes(), n
}

// A manifest made of a draft unpacks to the same text as one that was written at
// once, with stock zstd too, and its readers read it.
func TestDraft(t *testing.T) {
	t.Parallel()
	for _, entries := range [][]capstan.Entry{testEntries(), nil} {
		draft, n := draftOf(t, entries)
		var drafted bytes.Buffer
		if err := WriteDraft(&drafted, testSet(), testArchives(), bytes.NewReader(draft), n); err != nil {
			t.Fatal(err)
		}
		_, _, got, err := readAll(bytes.NewReader(drafted.Bytes()))
		if err != nil || len(got) != len(entries) || len(entries) > 0 && !reflect.DeepEqual(got, entries) {
			t.Errorf("%d of %d entries came back: %v", len(got), len(entries), err)
		}
		texts := [2][]byte{}
		for i, packed := range [][]byte{drafted.Bytes(), encode(t, entries)} {
			command := exec.CommandContext(t.Context(), "zstd", "-dc")
			command.Stdin = bytes.NewReader(packed)
			if texts[i], err = command.Output(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(texts[0], texts[1]) {
			t.Errorf("%d entries: the text differs from that of a manifest written at once", len(entries))
		}
	}
}

// A draft that is not whole does not pass for a manifest.
func TestDraftCutShort(t *testing.T) {
	t.Parallel()
	draft, n := draftOf(t, testEntries())
	for _, kept := range []int{0, 1, len(draft) / 2, len(draft) - 1} {
		var out bytes.Buffer
		err := WriteDraft(&out, testSet(), testArchives(), bytes.NewReader(draft[:kept]), n)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err = readAll(&out); !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("cut after %d of %d bytes: %v", kept, len(draft), err)
		}
	}
	broken := errors.New("the disk is gone")
	if err := WriteDraft(io.Discard, testSet(), testArchives(), io.MultiReader(bytes.NewReader(draft[:9]), &failingReader{broken}), n); !errors.Is(err, broken) {
		t.Errorf("a draft that cannot be read gave %v", err)
	}
}
