package envelope_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"capstan"
	"capstan/internal/archive"
	"capstan/internal/codec"
	"capstan/internal/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sealedSink takes one archive through an envelope, as a run does.
type sealedSink struct {
	to      *envelope.Recipients
	file    bytes.Buffer // the file on the volume
	stream  io.WriteCloser
	entries []capstan.Entry
}

func (s *sealedSink) Begin(context.Context) (capstan.ArchiveNumber, io.Writer, error) {
	var err error
	s.stream, err = s.to.Writer(&s.file)
	return 1, s.stream, err
}

func (s *sealedSink) Entries(_ context.Context, entries []capstan.Entry) error {
	s.entries = append(s.entries, entries...)
	return nil
}

func (s *sealedSink) Sealed(context.Context, capstan.Archive) error { return s.stream.Close() }

const files, fileSize = 120, 50_000

func fileContent(i int) []byte {
	random := rand.NewChaCha8([32]byte{byte(i)})
	b := make([]byte, fileSize)
	_, _ = random.Read(b) // never fails
	return b
}

// pack makes an encrypted archive of files that do not compress.
func pack(t *testing.T, compression capstan.Codec, key envelope.Key) *sealedSink {
	t.Helper()
	to, err := envelope.ParseRecipients([]string{key.Recipient()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sink := &sealedSink{to: to}
	packer := archive.NewPacker(t.Context(), archive.Options{Codec: compression, FrameSize: 400_000, Workers: 2}, sink)
	for i := range files {
		data := fileContent(i)
		item := capstan.Item{Data: data, Entry: capstan.Entry{
			Path: fmt.Sprintf("data/file-%03d", i), Kind: capstan.KindFile, Outcome: capstan.OutcomeStored,
			Mode: 0o644, ModTime: time.Unix(1_700_000_000, 0), Size: fileSize, Hash: sha256.Sum256(data),
		}}
		if err := packer.Add(t.Context(), &item); err != nil {
			t.Fatal(err)
		}
	}
	if err := packer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sink
}

// extract gives how many files came back, and fails for one that came back wrong.
func extract(t *testing.T, r *archive.Reader, entries []capstan.Entry) int {
	t.Helper()
	good := make(chan int, len(entries))
	err := r.Extract(t.Context(), entries, 2, capstan.Bytes(16<<20), func(_ context.Context, x *archive.Extracted) error {
		var i int
		if _, err := fmt.Sscanf(x.Entry.Path, "data/file-%d", &i); err != nil {
			return err
		}
		var got []byte
		err := x.Err
		if err == nil {
			got, err = io.ReadAll(x.Content)
		}
		if err == nil {
			good <- i
		}
		if err == nil && !bytes.Equal(got, fileContent(i)) {
			t.Errorf("%s came back as another file", x.Entry.Path)
		}
		return nil // a file that is lost is what the caller counts
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(good)
}

// open is how a run opens an archive, damaged or not.
func open(ids *envelope.Identities, file []byte, compression capstan.Codec) (*archive.Reader, error) {
	at, size := bytes.NewReader(file), int64(len(file))
	plain, err := ids.OpenAt(at, size)
	var reader *archive.Reader
	if err == nil {
		reader, err = archive.OpenReader(plain, plain.Size(), compression)
	}
	if errors.Is(err, capstan.ErrDamaged) {
		if plain, err = ids.Salvage(at, size); err == nil {
			reader, err = archive.OpenReader(plain, plain.Size(), compression)
		}
	}
	return reader, err
}

// An archive goes through an envelope and back; where the file is damaged, what is
// lost is about what would be lost without encryption.
func TestArchiveInEnvelope(t *testing.T) {
	t.Parallel()
	for _, compression := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip, capstan.CodecNone} {
		t.Run(string(compression), func(t *testing.T) {
			t.Parallel()
			key, err := envelope.NewKey()
			if err != nil {
				t.Fatal(err)
			}
			ids := envelope.IdentitiesOf(key)
			sink := pack(t, compression, key)
			file := sink.file.Bytes()
			changed := bytes.Clone(file)
			changed[len(file)/2] ^= 1
			tail := bytes.Clone(file)
			tail[len(file)-20] ^= 1
			frame := 18 // files in two frames, which a chunk may lie in
			if compression == capstan.CodecNone {
				frame = codec.VirtualFrame/fileSize + 2
			}
			for _, test := range []struct {
				name string
				file []byte
				most int // files lost
			}{
				{"whole", file, 0},
				{"middle changed", changed, frame},
				{"end changed", tail, 4},
				{"half of it", file[:len(file)/2], files/2 + 10},
			} {
				reader, err := open(ids, test.file, compression)
				if err != nil {
					t.Errorf("%s: %v", test.name, err)
					continue
				}
				if lost := files - extract(t, reader, sink.entries); lost > test.most || (lost == 0) != (test.most == 0) && test.name != "end changed" {
					t.Errorf("%s: %d of %d files are lost, at most %d should be", test.name, lost, files, test.most)
				}
			}
		})
	}
}
