package capstan

import (
	"testing"
	"time"
)

// FuzzSetID: what is taken for an id is the one form of its month and number, and is
// one name below a directory.
func FuzzSetID(f *testing.F) {
	for _, seed := range []string{
		"2026-11_000001", "2026-12_999999999", "2026-13_000001", "2026-11_0000001", "2026-11_000001\n", "../2026-11_000001", "٢٠٢٦-11_000001",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseSetID(text)
		if err != nil {
			if id != "" {
				t.Fatalf("%q is refused, and given", text)
			}
			return
		}
		month, err := time.Parse("2006-01", id.Month())
		if err != nil || month.Year() < 1 {
			return // the year 0 has no time
		}
		if again := NewSetID(month, id.Number()); string(again) != text {
			t.Fatalf("%q is set %d of %s, which is %s", text, id.Number(), id.Month(), again)
		}
	})
}

// FuzzArchiveName: what is taken for an archive's name is the one that its parts make.
func FuzzArchiveName(f *testing.F) {
	for _, seed := range []string{
		"backup_2026-11_000001_0001.tar.zst", "backup_2026-11_000001_10000.tar.gz.age", "backup_2026-13_000001_0001.tar", "backup_2026-11_000001_00001.tar",
		"backup_2026-11_0000001_0001.tar",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		set, number, codec, ok := ParseArchiveName(name)
		if !ok {
			return
		}
		if again := ArchiveName(set, number, codec); name != again && name != again+".age" {
			t.Fatalf("%q is archive %d of %s with %s, which is %s", name, number, set, codec, again)
		}
		if _, err := ParseSetID(string(set)); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
	})
}
