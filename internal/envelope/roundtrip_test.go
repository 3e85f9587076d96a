package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"filippo.io/age"

	"capstan"
)

// sizes lie around every edge of the format.
var sizes = []int{0, 1, 100, chunkSize - 1, chunkSize, chunkSize + 1, 2*chunkSize - 1, 2 * chunkSize, 3*chunkSize + 17, runChunks * chunkSize, (2*runChunks+1)*chunkSize + 5}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	key, other := mustKey(t), mustKey(t)
	pq, err := NewPostQuantumKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []struct {
		name string
		to   *Recipients
		ids  *Identities
	}{
		{"key", mustRecipients(t, key), IdentitiesOf(key)},
		{"second of two keys", mustRecipients(t, other, key), IdentitiesOf(key)},
		{"one of many keys", mustRecipients(t, key), IdentitiesOf(other, pq, key)},
		{"post-quantum key", mustRecipients(t, pq), IdentitiesOf(other, pq)},
		{"passphrase", cheapPassphrase(t, "correct horse"), mustLoad(t, knows("correct horse"))},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			for _, size := range sizes {
				plain := content(size)
				sealed := seal(t, kind.to, plain)
				if want := kind.to.EncryptedSize(int64(size)); want != int64(len(sealed)) {
					t.Errorf("%d bytes become %d, EncryptedSize said %d", size, len(sealed), want)
				}
				if n, err := PlainSize(bytes.NewReader(sealed), int64(len(sealed))); err != nil || n != int64(size) {
					t.Errorf("PlainSize of %d bytes: %d, %v", size, n, err)
				}
				for how, read := range map[string]func(*Identities, []byte) ([]byte, error){"OpenAt": openedAt, "Reader": streamed, "age": decryptWithAge} {
					if got, err := read(kind.ids, sealed); err != nil || !bytes.Equal(got, plain) {
						t.Errorf("%s of %d bytes gave %d other bytes, %v", how, size, len(got), err)
					}
				}
			}
		})
	}
}

// decryptWithAge reads as any other program does.
func decryptWithAge(ids *Identities, sealed []byte) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), ids.all...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestReadAtAnyRange(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	plain := content((2*runChunks+3)*chunkSize + 777)
	sealed := seal(t, mustRecipients(t, key), plain)
	p, err := IdentitiesOf(key).OpenAt(bytes.NewReader(sealed), int64(len(sealed)))
	if err != nil {
		t.Fatal(err)
	}
	edges := []int64{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 5*chunkSize - 3, runChunks * chunkSize, (2*runChunks + 3) * chunkSize, int64(len(plain)) - 1}
	lengths := []int{1, 2, 100, chunkSize - 1, chunkSize, chunkSize + 1, 3 * chunkSize, runChunks * chunkSize, (runChunks + 2) * chunkSize, len(plain)}
	var group sync.WaitGroup
	for _, off := range edges {
		group.Go(func() {
			for _, length := range lengths {
				b := make([]byte, length)
				n, err := p.ReadAt(b, off)
				want := plain[off:min(off+int64(length), int64(len(plain)))]
				if !bytes.Equal(b[:n], want) {
					t.Errorf("%d bytes at %d: %d bytes came, not those that were written", length, off, n)
				}
				if short := len(want) < length; short != errors.Is(err, io.EOF) || !short && err != nil {
					t.Errorf("%d bytes at %d: error %v", length, off, err)
				}
			}
		})
	}
	group.Wait()
	if n, err := p.ReadAt(make([]byte, 1), p.Size()); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("a read behind the end gave %d, %v", n, err)
	}
	if _, err := p.ReadAt(make([]byte, 1), -1); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a read before the start gave %v", err)
	}
}

// One hundred bytes cost a chunk; whoever reads on pays for no chunk twice.
func TestRandomAccessReadsLittle(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	plain := content(100*chunkSize + 500)
	sealed := seal(t, mustRecipients(t, key), plain)
	file := &countingReader{ReaderAt: bytes.NewReader(sealed)}
	p, err := IdentitiesOf(key).OpenAt(file, int64(len(sealed)))
	if err != nil {
		t.Fatal(err)
	}
	if file.bytes > 8<<10 { // header, and the last chunk of 500 bytes
		t.Errorf("opening read %d bytes", file.bytes)
	}
	cost := func(what string, off, n int64, mostBytes, mostCalls int) {
		t.Helper()
		calls, before := file.calls, file.bytes
		b := make([]byte, n)
		if _, err := p.ReadAt(b, off); err != nil || !bytes.Equal(b, plain[off:off+n]) {
			t.Errorf("%s: %v", what, err)
		}
		if file.bytes-before > mostBytes || file.calls-calls > mostCalls {
			t.Errorf("%s: read %d bytes in %d calls, at most %d in %d were right", what, file.bytes-before, file.calls-calls, mostBytes, mostCalls)
		}
	}
	cost("100 bytes", 40*chunkSize+7, 100, sealedChunk, 1)
	cost("100 bytes more of the chunk", 40*chunkSize+5000, 100, 0, 0)
	cost("100 bytes over an edge", 60*chunkSize-50, 100, 2*sealedChunk, 1)
	cost("the last 100 bytes", int64(len(plain))-100, 100, 0, 0)
	// Frames one after another, as an archive is read: one and a half chunks each.
	const frame = 3 * chunkSize / 2
	before := file.bytes
	for off := int64(0); off+frame <= 30*chunkSize; off += frame {
		cost(fmt.Sprintf("frame at %d", off), off, frame, 2*sealedChunk, 1)
	}
	if read := file.bytes - before; read != 30*sealedChunk {
		t.Errorf("30 chunks in frames cost %d bytes, not %d", read, 30*sealedChunk)
	}
	// A long read takes whole runs of chunks.
	cost("4 MiB", 30*chunkSize, 4<<20, 64*sealedChunk, 4)
}

func TestWriterFailures(t *testing.T) {
	t.Parallel()
	full := errors.New("full")
	to := mustRecipients(t, mustKey(t))
	if _, err := to.Writer(&limitedWriter{err: full}); !errors.Is(err, full) {
		t.Errorf("a header that cannot be written gave %v", err)
	}
	w, err := to.Writer(&limitedWriter{room: int(to.header), err: full})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(make([]byte, 3*chunkSize))
	_, again := w.Write([]byte("x"))
	if !errors.Is(err, full) || !errors.Is(again, full) || !errors.Is(w.Close(), full) {
		t.Errorf("a full disk gave %v, then %v", err, again)
	}
	w, err = to.Writer(&limitedWriter{room: int(to.header) + 10, err: full})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("some")); err != nil {
		t.Fatal(err)
	}
	if first := w.Close(); !errors.Is(first, full) || !errors.Is(w.Close(), full) {
		t.Errorf("a disk that is full at the last chunk gave %v", first)
	}
}

type limitedWriter struct {
	room int
	err  error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	n := min(w.room, len(p))
	w.room -= n
	if n < len(p) {
		return n, w.err
	}
	return n, nil
}

func TestReadFailureIsNoDamage(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	ids := IdentitiesOf(key)
	sealed := seal(t, mustRecipients(t, key), content(5*chunkSize))
	broken := errors.New("input/output error")
	file := &countingReader{ReaderAt: bytes.NewReader(sealed), fail: broken}
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, broken) || errors.Is(err, capstan.ErrDamaged) || errors.Is(err, capstan.ErrWrongKey) {
			t.Errorf("%s: a medium that cannot be read gave %v", what, err)
		}
	}
	_, err := ids.OpenAt(file, int64(len(sealed)))
	check("OpenAt", err)
	_, err = ids.Salvage(file, int64(len(sealed)))
	check("Salvage", err)
	file.fail = nil
	p, err := ids.OpenAt(file, int64(len(sealed)))
	if err != nil {
		t.Fatal(err)
	}
	file.fail = broken
	_, err = p.ReadAt(make([]byte, 10), 0)
	check("ReadAt", err)
	for _, at := range []int{0, 10, len(sealed) / 2} {
		r, err := ids.Reader(io.MultiReader(bytes.NewReader(sealed[:at]), failingReader{broken}))
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		check(fmt.Sprintf("Reader at %d", at), err)
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestRecent(t *testing.T) {
	t.Parallel()
	var r recent
	for i := range int64(recentChunks + 3) {
		r.put(i, []byte{byte(i)})
		if r.get(0) == nil { // wanted each time, so it stays
			t.Fatalf("chunk 0 is gone after %d others", i)
		}
	}
	var kept []int64
	for i := range int64(recentChunks + 3) {
		if r.get(i) != nil {
			kept = append(kept, i)
		}
	}
	if want := []int64{0, 4, 5, 6, 7, 8, 9, 10}; !slices.Equal(kept, want) {
		t.Errorf("kept %v, want %v", kept, want)
	}
}
