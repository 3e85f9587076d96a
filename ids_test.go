package capstan_test

import (
	"testing"
	"time"

	"capstan"
)

func TestSetID(t *testing.T) {
	t.Parallel()
	id := capstan.NewSetID(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), 7)
	if id != "2026-11_000007" || id.Month() != "2026-11" || id.Number() != 7 {
		t.Errorf("got %q, month %q, number %d", id, id.Month(), id.Number())
	}
	if parsed, err := capstan.ParseSetID(string(id)); err != nil || parsed != id {
		t.Errorf("ParseSetID(%q) = %q, %v", id, parsed, err)
	}
	for _, bad := range []string{"", "latest", "2026-13_000001", "2026-11_1", "../2026-11_000001", "2026-11_000001/"} {
		if _, err := capstan.ParseSetID(bad); err == nil {
			t.Errorf("ParseSetID(%q) gave no error", bad)
		}
	}
}

func TestArchiveName(t *testing.T) {
	t.Parallel()
	for _, codec := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip, capstan.CodecNone} {
		name := capstan.ArchiveName("2026-11_000001", 12, codec)
		set, number, gotCodec, ok := capstan.ParseArchiveName(name)
		if !ok || set != "2026-11_000001" || number != 12 || gotCodec != codec {
			t.Errorf("%s: got %q %d %q %v", name, set, number, gotCodec, ok)
		}
	}
	for _, bad := range []string{"backup_2026-11_000001_0001.tar.zst.part", "backup_2026-11_000001.tar", "SHA256SUMS", ""} {
		if _, _, _, ok := capstan.ParseArchiveName(bad); ok {
			t.Errorf("%q was taken for an archive", bad)
		}
	}
}
