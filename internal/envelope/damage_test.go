package envelope

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"capstan"
)

// Whatever byte of a file is changed, and whichever bit of it, nobody takes the
// result for what was written. A changed header may look like a wrong key, since
// age hides whose it is; who knows to whom the file is encrypted is told that it
// is damaged.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	plain := []byte("forty-two bytes that are worth protecting.")
	for _, kind := range []struct {
		name string
		to   *Recipients
		ids  *Identities
	}{
		{"one key", mustRecipients(t, key), IdentitiesOf(key)},
		{"key beside another", mustRecipients(t, mustKey(t), key), IdentitiesOf(key)},
		{"passphrase", cheapPassphrase(t, "correct horse"), mustLoad(t, knows("correct horse"))},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			sealed := seal(t, kind.to, plain)
			known := kind.ids.For(kind.to.Strings())
			for at := range sealed {
				for bit := range 8 {
					if kind.name != "one key" && bit != at%8 {
						continue // the others take longer
					}
					bad := bytes.Clone(sealed)
					bad[at] ^= 1 << bit
					if kind.name == "passphrase" && moreWork(bad) {
						continue // it would be noticed too, after seconds
					}
					for how, read := range map[string]func(*Identities, []byte) ([]byte, error){"OpenAt": openedAt, "Reader": streamed} {
						_, err := read(kind.ids, bad)
						if !errors.Is(err, capstan.ErrDamaged) && !errors.Is(err, capstan.ErrWrongKey) && !errors.Is(err, capstan.ErrRefused) {
							t.Errorf("%s: bit %d of byte %d (%q): %v", how, bit, at, sealed[at], err)
						}
						if kind.name == "passphrase" || bit != at%8 {
							continue // all that is known of a passphrase is that it is one
						}
						if _, err = read(known, bad); errors.Is(err, capstan.ErrWrongKey) {
							t.Errorf("%s, with the recipients known: bit %d of byte %d (%q): %v", how, bit, at, sealed[at], err)
						}
					}
				}
			}
		})
	}
}

// moreWork reports whether a passphrase's header demands more than tests have
// time for.
func moreWork(sealed []byte) bool {
	line, _, _ := strings.Cut(strings.TrimPrefix(string(sealed), magicLine), "\n")
	fields := strings.Fields(line)
	return len(fields) == 4 && fields[3] != "10" && len(fields[3]) == 2 && fields[3][0] != '3'
}

// Every byte of a file that is longer than a chunk: one bit each, to be quick.
func TestFlipsInLongFile(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	ids := IdentitiesOf(key)
	plain := content(3*chunkSize + 100)
	sealed := seal(t, mustRecipients(t, key), plain)
	for at := 0; at < len(sealed); at += 977 {
		bad := bytes.Clone(sealed)
		bad[at] ^= 0x10
		for how, read := range map[string]func(*Identities, []byte) ([]byte, error){"OpenAt": openedAt, "Reader": streamed} {
			if _, err := read(ids, bad); err == nil {
				t.Errorf("%s: a change of byte %d went unnoticed", how, at)
			}
		}
		p, err := ids.OpenAt(bytes.NewReader(bad), int64(len(bad)))
		if err != nil {
			continue
		}
		// The chunks beside the damaged one are read as ever.
		for chunk := range int64(4) {
			off := chunk * chunkSize
			b := make([]byte, min(chunkSize, int64(len(plain))-off))
			n, err := p.ReadAt(b, off)
			hit := int64(at) >= p.offset(chunk) && int64(at) < p.offset(chunk+1)
			if hit && (n != 0 || !errors.Is(err, capstan.ErrDamaged)) || !hit && (err != nil || !bytes.Equal(b, plain[off:off+int64(n)])) {
				t.Errorf("byte %d changed: chunk %d gave %d bytes, %v", at, chunk, n, err)
			}
		}
	}
}

func TestEveryCutIsNoticed(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	to, ids := mustRecipients(t, key), IdentitiesOf(key)
	for _, size := range []int{0, 10, chunkSize, 3 * chunkSize, 3*chunkSize + 1000} {
		sealed := seal(t, to, content(size))
		var cuts []int
		for at := range min(len(sealed), 400) { // all of the header and a little more
			cuts = append(cuts, at)
		}
		for chunk := int(to.header); chunk < len(sealed); chunk += sealedChunk {
			for near := -20; near <= 20; near++ {
				cuts = append(cuts, chunk+near)
			}
		}
		cuts = append(cuts, len(sealed)-1, len(sealed)-tagSize, len(sealed)-tagSize-1)
		for _, cut := range cuts {
			if cut < 0 || cut >= len(sealed) {
				continue
			}
			for how, read := range map[string]func(*Identities, []byte) ([]byte, error){"OpenAt": openedAt, "Reader": streamed} {
				if _, err := read(ids, sealed[:cut]); !errors.Is(err, capstan.ErrDamaged) {
					t.Errorf("%s: %d bytes cut to %d of %d: %v", how, size, cut, len(sealed), err)
				}
			}
		}
		for _, more := range [][]byte{{0}, make([]byte, tagSize+1), make([]byte, sealedChunk), sealed[to.header:]} {
			long := slices.Concat(sealed, more)
			for how, read := range map[string]func(*Identities, []byte) ([]byte, error){"OpenAt": openedAt, "Reader": streamed} {
				if _, err := read(ids, long); !errors.Is(err, capstan.ErrDamaged) {
					t.Errorf("%s: %d bytes with %d more behind them: %v", how, size, len(more), err)
				}
			}
		}
	}
}

// Chunks that are swapped, repeated or taken from another file are not those that
// belong in their place.
func TestMovedChunksAreNoticed(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	to, ids := mustRecipients(t, key), IdentitiesOf(key)
	sealed, other := seal(t, to, content(4*chunkSize)), seal(t, to, content(4*chunkSize))
	chunk := func(file []byte, i int) []byte {
		return file[int(to.header)+i*sealedChunk:][:sealedChunk]
	}
	for name, move := range map[string]func(bad []byte){
		"two swapped":          func(bad []byte) { copy(chunk(bad, 1), chunk(sealed, 2)); copy(chunk(bad, 2), chunk(sealed, 1)) },
		"one repeated":         func(bad []byte) { copy(chunk(bad, 2), chunk(sealed, 1)) },
		"one of another file":  func(bad []byte) { copy(chunk(bad, 1), chunk(other, 1)) },
		"header of another":    func(bad []byte) { copy(bad[:to.header], other[:to.header]) },
		"last put to the fore": func(bad []byte) { copy(chunk(bad, 0), chunk(sealed, 3)) },
	} {
		bad := bytes.Clone(sealed)
		move(bad)
		for how, read := range map[string]func(*Identities, []byte) ([]byte, error){"OpenAt": openedAt, "Reader": streamed} {
			if _, err := read(ids, bad); !errors.Is(err, capstan.ErrDamaged) {
				t.Errorf("%s, %s: %v", name, how, err)
			}
		}
	}
}

func TestNotEncrypted(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	ids := IdentitiesOf(key)
	for _, test := range []struct {
		name, file, want string
		class            error
	}{
		{"empty", "", "it is empty", capstan.ErrDamaged},
		{"zstd archive", "\x28\xb5\x2f\xfd and so on, for more than a line\n", "not encrypted", capstan.ErrDamaged},
		{"text", "hello\n", "not encrypted", capstan.ErrDamaged},
		{"armored", "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5\n", "text form", capstan.ErrDamaged},
		{"later version", "age-encryption.org/v2\n-> new\n", "another version", capstan.ErrRefused},
		{"header only", "age-encryption.org/v1\n", "header", capstan.ErrDamaged},
		{"cut in its first line", "age-encr", "header", capstan.ErrDamaged},
	} {
		for how, read := range map[string]func(*Identities, []byte) ([]byte, error){"OpenAt": openedAt, "Reader": streamed} {
			_, err := read(ids, []byte(test.file))
			wantClass(t, test.name+", "+how, err, test.class)
			if err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %s: %q does not say %q", test.name, how, err, test.want)
			}
		}
		if _, err := PlainSize(strings.NewReader(test.file), int64(len(test.file))); !errors.Is(err, test.class) {
			t.Errorf("%s, PlainSize: %v", test.name, err)
		}
	}
}

func TestSalvage(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	to, ids := mustRecipients(t, key), IdentitiesOf(key)
	plain := content(4*chunkSize + 1000)
	sealed := seal(t, to, plain)
	at := func(chunk int) int { return int(to.header) + chunk*sealedChunk }
	changed := func(places ...int) []byte {
		bad := bytes.Clone(sealed)
		for _, place := range places {
			bad[place] ^= 1
		}
		return bad
	}
	for _, test := range []struct {
		name  string
		file  []byte
		whole []int // chunks that come back
		size  int
		end   bool // the end is whole
	}{
		{"nothing is wrong", sealed, []int{0, 1, 2, 3, 4}, len(plain), true},
		{"end changed", changed(at(4) + 5), []int{0, 1, 2, 3}, len(plain), false},
		{"middle changed", changed(at(1), at(3)+chunkSize), []int{0, 2, 4}, len(plain), true},
		{"cut at an edge", sealed[:at(3)], []int{0, 1, 2}, 3 * chunkSize, false},
		{"cut in a chunk", sealed[:at(3)+500], []int{0, 1, 2}, 3*chunkSize + 500 - tagSize, false},
		{"cut in a tag", sealed[:at(3)+tagSize], []int{0, 1, 2}, 3 * chunkSize, false},
		{"something behind", append(bytes.Clone(sealed), make([]byte, 3000)...), []int{0, 1, 2, 3}, len(plain) + 3000, false},
	} {
		p, err := ids.Salvage(bytes.NewReader(test.file), int64(len(test.file)))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if p.Size() != int64(test.size) || (p.Damage() == nil) != test.end {
			t.Errorf("%s: %d bytes, damage %v; want %d bytes", test.name, p.Size(), p.Damage(), test.size)
		}
		if p.Damage() != nil && !errors.Is(p.Damage(), capstan.ErrDamaged) {
			t.Errorf("%s: damage %v", test.name, p.Damage())
		}
		got, err := io.ReadAll(io.NewSectionReader(p, 0, p.Size()))
		if err != nil || int64(len(got)) != p.Size() {
			t.Errorf("%s: %d bytes, %v", test.name, len(got), err)
		}
		for chunk := 0; chunk*chunkSize < len(got); chunk++ {
			piece := got[chunk*chunkSize : min((chunk+1)*chunkSize, len(got))]
			var want []byte
			if slices.Contains(test.whole, chunk) {
				want = plain[chunk*chunkSize:][:len(piece)]
			} else {
				want = make([]byte, len(piece))
			}
			if !bytes.Equal(piece, want) {
				t.Errorf("%s: chunk %d is not as it should be", test.name, chunk)
			}
		}
	}
	if _, err := IdentitiesOf(mustKey(t)).Salvage(bytes.NewReader(sealed), int64(len(sealed))); !errors.Is(err, capstan.ErrWrongKey) {
		t.Errorf("with a wrong key: %v", err)
	}
	if _, err := ids.Salvage(bytes.NewReader(changed(30)), int64(len(sealed))); err == nil {
		t.Error("a damaged header was salvaged")
	}
	short := int64(to.header) + tagSize - 1
	if _, err := ids.Salvage(bytes.NewReader(sealed[:short]), short); !errors.Is(err, capstan.ErrDamaged) {
		t.Errorf("a file without a chunk: %v", err)
	}
}
