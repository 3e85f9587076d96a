package envelope

import (
	"bytes"
	"io"
	"testing"
)

const benchSize = 64 << 20

func BenchmarkWriter(b *testing.B) {
	to := mustRecipients(b, mustKey(b))
	plain := content(benchSize)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		w, err := to.Writer(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(plain); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// Frames of an archive, one after another.
func BenchmarkReadAt(b *testing.B) {
	key := mustKey(b)
	sealed := seal(b, mustRecipients(b, key), content(benchSize))
	frame := make([]byte, 1_700_001)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		p, err := IdentitiesOf(key).OpenAt(bytes.NewReader(sealed), int64(len(sealed)))
		if err != nil {
			b.Fatal(err)
		}
		for off := int64(0); off < p.Size(); off += int64(len(frame)) {
			if n, err := p.ReadAt(frame, off); n == 0 {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkReader(b *testing.B) {
	key := mustKey(b)
	sealed := seal(b, mustRecipients(b, key), content(benchSize))
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		r, err := IdentitiesOf(key).Reader(bytes.NewReader(sealed))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRewrap(b *testing.B) {
	key := mustKey(b)
	to := mustRecipients(b, mustKey(b))
	sealed := seal(b, mustRecipients(b, key), content(benchSize))
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		if err := Rewrap(io.Discard, bytes.NewReader(sealed), int64(len(sealed)), IdentitiesOf(key), to); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncryptAgain is what Rewrap saves.
func BenchmarkEncryptAgain(b *testing.B) {
	key := mustKey(b)
	to := mustRecipients(b, mustKey(b))
	sealed := seal(b, mustRecipients(b, key), content(benchSize))
	b.SetBytes(benchSize)
	for b.Loop() {
		r, err := IdentitiesOf(key).Reader(bytes.NewReader(sealed))
		if err != nil {
			b.Fatal(err)
		}
		w, err := to.Writer(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenAt(b *testing.B) {
	key := mustKey(b)
	sealed := seal(b, mustRecipients(b, key), content(100))
	for b.Loop() {
		if _, err := IdentitiesOf(key).OpenAt(bytes.NewReader(sealed), int64(len(sealed))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPassphrase(b *testing.B) {
	to, err := ParseRecipients(nil, knows("correct horse"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := to.Writer(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
