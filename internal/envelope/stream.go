package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// Reader decrypts a file from its beginning to its end. It reads the header at
// once; the content comes as it is read, each chunk proven, and io.EOF only when
// the file is whole and nothing follows. Whoever must not act on a part of a file
// reads to io.EOF before. One goroutine uses the result; r stays the caller's.
func (i *Identities) Reader(r io.Reader) (io.Reader, error) {
	source := &source{r: r}
	var seen bytes.Buffer // the header and a little more
	text, err := age.ExtractHeader(io.TeeReader(source, &seen))
	if err != nil {
		if source.err != nil {
			return nil, fmt.Errorf("read header: %w", source.err)
		}
		return nil, notAge(seen.Bytes()[:min(seen.Len(), len(armor.Header))], err)
	}
	fileKey, err := i.fileKey(text)
	if err != nil {
		return nil, err
	}
	stream, err := age.Decrypt(io.MultiReader(&seen, source), age.NewInjectedFileKeyIdentity(fileKey))
	if source.err != nil {
		return nil, fmt.Errorf("read header: %w", source.err)
	}
	if err != nil {
		return nil, damaged("it is cut off within its header")
	}
	return &reader{stream: stream, source: source}, nil
}

// reader gives the errors of a stream their class.
type reader struct {
	stream io.Reader
	source *source
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.stream.Read(p)
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case r.source.err != nil:
		return n, r.source.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, damaged("it is cut off")
	}
	return n, damaged("a part is not what was written: %w", err)
}
