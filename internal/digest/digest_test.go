package digest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
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

// TestHasher adds pieces of any length to many streams, several at once and of one
// stream several without waiting, through one hasher and through three.
func TestHasher(t *testing.T) {
	t.Parallel()
	for _, runs := range []int{1, 3} {
		ctx, cancel := context.WithCancel(t.Context())
		h := NewHasher()
		var running, adding sync.WaitGroup
		for range runs {
			running.Go(func() { h.Run(ctx) })
		}
		for seed := range uint64(9) {
			adding.Go(func() { addMuch(t, h, seed) })
		}
		adding.Wait()
		cancel()
		running.Wait()
	}
}

// addMuch adds to three streams, in batches of any number of pieces.
func addMuch(t *testing.T, h *Hasher, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 7))
	streams := make([]*Stream, 3)
	wants := make([]hash.Hash, len(streams))
	for round := range 6 {
		for i := range streams {
			streams[i], wants[i] = NewStream(), sha256.New()
		}
		var last []<-chan struct{}
		for range 12 {
			work := make([]Work, random.IntN(6))
			for i := range work {
				b := make([]byte, []int{0, 1, 63, 64, 65, 512, 70_000, 200_000}[random.IntN(8)]+random.IntN(2)*random.IntN(200))
				for j := range b {
					b[j] = byte(i + j*int(seed+1) + round)
				}
				to := random.IntN(len(streams))
				work[i] = Work{Stream: streams[to], Data: b}
				wants[to].Write(b)
			}
			last = append(last, h.Add(work))
			clear(work) // it is the caller's again
		}
		for _, done := range last {
			<-done
		}
		for i := range streams {
			if got := streams[i].Sum(); got != capstan.Hash(wants[i].Sum(nil)) {
				t.Errorf("seed %d, round %d: stream %d has another hash", seed, round, i)
			}
		}
	}
}

// TestHasherEnds: with its context, and what is left stays undone.
func TestHasherEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	h := NewHasher()
	var running sync.WaitGroup
	running.Go(func() { h.Run(ctx) }) // it has nothing to do
	<-h.Add([]Work{{Stream: NewStream(), Data: []byte("done")}})
	cancel()
	running.Wait()
	done := h.Add([]Work{{Stream: NewStream(), Data: []byte("left")}})
	h.Run(ctx)
	select {
	case <-done:
		t.Error("work is done behind the end")
	default:
	}
	<-h.Add(nil)
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
