package digest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"sync"
	"testing"

	"capstan"
)

// sizes are those around the edges of blocks and of the padding.
func sizes() []int {
	return []int{0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 183, 184, 1000, 4096, 65536, 300_001}
}

// TestSums compares with crypto/sha256, for every pair of sizes and for batches of
// any length.
func TestSums(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 400_000)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	check := func(data [][]byte) {
		t.Helper()
		kept := make([][]byte, len(data))
		for i, b := range data {
			kept[i] = bytes.Clone(b)
		}
		sums := make([]capstan.Hash, len(data))
		Sums(sums, data)
		for i, b := range data {
			if sums[i] != sha256.Sum256(kept[i]) || !bytes.Equal(b, kept[i]) {
				t.Errorf("number %d of %d, %d bytes: %v", i, len(data), len(b), sums[i])
			}
		}
	}
	cut := func(n int) []byte {
		from := random.IntN(len(content) - n)
		return content[from : from+n : from+n] // at any alignment
	}
	check(nil)
	for _, n := range sizes() {
		check([][]byte{cut(n)})
		for _, m := range sizes() {
			check([][]byte{cut(n), cut(m)})
		}
	}
	for range 200 {
		data := make([][]byte, random.IntN(40))
		for i := range data {
			data[i] = cut(random.IntN(1 << random.IntN(18)))
		}
		check(data)
	}
}

// TestHasher adds pieces of any length to many streams, of which each waits for its
// last piece, through one hasher and through two.
func TestHasher(t *testing.T) {
	t.Parallel()
	for runs := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		h := NewHasher()
		var running, adding sync.WaitGroup
		for range runs + 1 {
			running.Go(func() { h.Run(ctx) })
		}
		for seed := range uint64(9) {
			adding.Go(func() {
				random := rand.New(rand.NewPCG(seed, 7))
				s, want := NewStream(), sha256.New()
				for i := range 80 {
					b := make([]byte, []int{0, 1, 63, 64, 65, 512, 70_000, 200_000}[random.IntN(8)]+random.IntN(2)*random.IntN(200))
					for j := range b {
						b[j] = byte(i + j*int(seed))
					}
					w := &Work{Stream: s, Data: b, Done: make(chan struct{})}
					want.Write(b)
					if !h.Add(ctx, w) {
						t.Error("not added")
						return
					}
					<-w.Done
					if i%19 == 11 {
						if s.Sum() != capstan.Hash(want.Sum(nil)) {
							t.Errorf("seed %d, piece %d: another hash", seed, i)
						}
						s.Reset()
						want.Reset()
					}
				}
			})
		}
		adding.Wait()
		cancel()
		running.Wait()
	}
}

// TestHasherEnds: with its context, whoever adds does not hang.
func TestHasherEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := NewHasher()
	h.Run(ctx)
	for range 2 * waiting {
		h.Add(ctx, &Work{Stream: NewStream(), Done: make(chan struct{})})
	}
}

// TestVectors are those of NIST, as FIPS 180-2 shows them in its appendix B.
func TestVectors(t *testing.T) {
	t.Parallel()
	data := [][]byte{[]byte("abc"), []byte("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), bytes.Repeat([]byte("a"), 1_000_000)}
	sums := make([]capstan.Hash, len(data))
	Sums(sums, data)
	for i, want := range []string{
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
		"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
	} {
		if got := hex.EncodeToString(sums[i][:]); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
}

func BenchmarkSums(b *testing.B) {
	for name, n := range map[string]int{"1KiB": 1 << 10, "64KiB": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			data, sums := make([][]byte, 32), make([]capstan.Hash, 32)
			for i := range data {
				data[i] = make([]byte, n)
			}
			b.SetBytes(int64(32 * n))
			for b.Loop() {
				Sums(sums, data)
			}
		})
	}
}
