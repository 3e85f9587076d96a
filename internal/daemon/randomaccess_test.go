package daemon

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"capstan"
	"capstan/internal/envelope"
	"capstan/internal/pipeline"
)

// countingVolume counts the bytes that are read from it.
type countingVolume struct {
	capstan.Volume
	read *atomic.Int64
}

func (v countingVolume) Open(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeReader, error) {
	file, err := v.Volume.Open(ctx, set, name)
	return countingReader{file, v.read}, err
}

type countingReader struct {
	capstan.VolumeReader
	read *atomic.Int64
}

func (r countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.VolumeReader.ReadAt(p, off)
	r.read.Add(int64(n))
	return n, err
}

// TestOneFileOfAnEncryptedSet: one small file out of a large encrypted archive costs
// its frame, not the archive.
func TestOneFileOfAnEncryptedSet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	const files, size = 64, 1 << 20
	content := func(i int) []byte {
		noise := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(noise) // never fails
		return noise
	}
	for i := range files {
		if err := os.WriteFile(filepath.Join(data, fmt.Sprintf("file-%02d", i)), content(i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := envelope.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	to, err := envelope.ParseRecipients([]string{key.Recipient()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	d, err := Open(ctx, Options{Home: filepath.Join(dir, "home")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	volumes, err := d.Volumes(ctx, []string{filepath.Join(dir, "vol")})
	if err != nil {
		t.Fatal(err)
	}
	sources, err := d.Sources([]string{data}, []string{volumes[0].Info.Location}, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	summary, err := d.Engine.Backup(ctx, pipeline.Backup{
		Job: "job", Sources: sources, Volumes: volumes, Codec: capstan.CodecZstd, Level: 1, ArchiveSize: capstan.GiB, Recipients: to,
	})
	if err != nil || summary.Archives != 1 {
		t.Fatalf("%d archives, %v", summary.Archives, err)
	}

	var read atomic.Int64
	d.Engine.Identities = envelope.IdentitiesOf(key)
	d.Engine.Open = func(ctx context.Context, info capstan.VolumeInfo) (capstan.Volume, error) {
		volume, err := d.reopen(ctx, info)
		return countingVolume{volume, &read}, err
	}
	var out bytes.Buffer
	if err := d.Engine.Cat(ctx, summary.Set, "data/file-40", &out); err != nil || !bytes.Equal(out.Bytes(), content(40)) {
		t.Fatalf("cat gave %d bytes, %v", out.Len(), err)
	}
	// The header, the last chunks with the index, and the frames of 4 MiB that the
	// file lies in: two at most, of sixteen.
	t.Logf("cat of %d bytes read %d of %d", size, read.Load(), files*size)
	if read.Load() > 10<<20 {
		t.Errorf("cat of %d bytes read %d", size, read.Load())
	}

	read.Store(0)
	back := filepath.Join(dir, "back")
	if _, err := d.Engine.Restore(ctx, pipeline.Restore{Set: summary.Set, Paths: []string{"data/file-40"}, Target: back}); err != nil {
		t.Fatal(err)
	}
	t.Logf("restore of one file read %d", read.Load())
	if got, err := os.ReadFile(filepath.Join(back, "data", "file-40")); err != nil || !bytes.Equal(got, content(40)) || read.Load() > 10<<20 {
		t.Errorf("restore of one file: %d bytes, %v; %d read", len(got), err, read.Load())
	}
}
