package manifest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"capstan"
)

// Reader reads a manifest. One goroutine uses it, from NewReader to Close.
type Reader struct {
	source   *source
	stream   io.ReadCloser
	lines    *bufio.Reader
	decoder  decoder
	long     []byte // of a line that does not fit into the buffer of lines
	next     []byte // a line that was read too far; nil if none
	number   int64  // of the last line read
	set      capstan.Set
	archives []capstan.Archive
	started  bool
}

// source remembers that reading itself failed, so that this is not taken for
// damage.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		s.err = err
	}
	return n, err
}

// NewReader reads the set and its archives from the beginning of a manifest.
// What is no manifest gives capstan.ErrDamaged, one of a newer format
// capstan.ErrRefused. The caller calls Close when the error is nil.
func NewReader(r io.Reader) (*Reader, error) {
	m := &Reader{source: &source{Reader: r}}
	var err error
	m.stream, err = newDecompressor(m.source)
	if err == nil {
		m.lines = bufio.NewReaderSize(m.stream, 256<<10)
		err = m.head()
	}
	if err != nil {
		m.Close()
		return nil, m.damaged(err)
	}
	return m, nil
}

// Set is the set that the manifest describes.
func (m *Reader) Set() capstan.Set { return m.set }

// Archives are the set's archives by number. The slice is the reader's.
func (m *Reader) Archives() []capstan.Archive { return m.archives }

// Close frees the reader's memory. It does not close what it reads from.
func (m *Reader) Close() {
	if m.stream != nil {
		_ = m.stream.Close() // of a decoder: it has nothing to say
	}
}

// Entries yields the entries in the order in which they were written, once. The
// last thing it yields may be an error, with which the entry is void; when there
// is none, the manifest was whole. Each entry's memory is the caller's.
func (m *Reader) Entries() iter.Seq2[capstan.Entry, error] {
	return func(yield func(capstan.Entry, error) bool) {
		if m.started {
			yield(capstan.Entry{}, errors.New("the entries of a manifest can be read once"))
			return
		}
		m.started = true
		for count := int64(0); ; count++ {
			line, kind, err := m.line()
			if err == nil && kind == "end" {
				err = m.end(line, count)
				if err == nil {
					return
				}
			}
			if err == nil && kind != "entry" {
				err = fmt.Errorf("a line of type %q among the entries", kind)
			}
			var entry capstan.Entry
			if err == nil {
				entry, err = m.decoder.entry(line)
			}
			if err != nil {
				yield(capstan.Entry{}, m.damaged(err))
				return
			}
			if !yield(entry, nil) {
				return
			}
		}
	}
}

// head reads the lines before the entries.
func (m *Reader) head() error {
	line, kind, err := m.line()
	if err != nil {
		return err
	}
	var set setLine
	if kind != "set" {
		return errors.New("it does not begin with a set")
	}
	// A newer format may have changed all other fields.
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(line, &version); err != nil {
		return err
	}
	if version.Format > Format {
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "read manifest",
			Err:  fmt.Errorf("it has format %d, and this program knows %d", version.Format, Format),
			Next: "use a newer capstan, or the commands in RESTORE.txt",
		}
	}
	if version.Format < 1 {
		return errors.New("it names no format")
	}
	if err := json.Unmarshal(line, &set); err != nil {
		return err
	}
	if m.set, err = set.set(); err != nil {
		return err
	}
	return m.headArchives()
}

func (m *Reader) headArchives() error {
	last := capstan.ArchiveNumber(0)
	for {
		line, kind, err := m.line()
		if err != nil {
			return err
		}
		if kind != "archive" {
			m.next = bytes.Clone(line)
			return nil
		}
		var l archiveLine
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		archive, err := l.archive(m.set.ID)
		if err != nil {
			return err
		}
		if archive.Number <= last || len(m.archives) == maxArchives {
			return fmt.Errorf("archive %d is out of order, or one too many", archive.Number)
		}
		last = archive.Number
		m.archives = append(m.archives, archive)
	}
}

// end checks the last line against what was read, and that nothing follows.
func (m *Reader) end(line []byte, entries int64) error {
	var end endLine
	if err := json.Unmarshal(line, &end); err != nil {
		return err
	}
	if end.Entries != entries || end.Archives != len(m.archives) {
		return fmt.Errorf("it ends with %d entries in %d archives, but %d in %d were read",
			end.Entries, end.Archives, entries, len(m.archives))
	}
	switch _, err := m.lines.ReadByte(); {
	case err == nil:
		return errors.New("something follows its end")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// line gives the next line and its type. The line is valid until the next call.
func (m *Reader) line() (line []byte, kind string, err error) {
	if m.next != nil {
		line, m.next = m.next, nil
	} else if line, err = m.read(); err != nil {
		return nil, "", err
	}
	kind, err = lineType(line)
	if err == nil && kind != "entry" && len(line) >= maxHead {
		err = fmt.Errorf("a line of type %.20q is longer than %s", kind, capstan.Bytes(maxHead))
	}
	return line, kind, err
}

func lineType(line []byte) (string, error) {
	for _, kind := range []string{"entry", "archive", "set", "end"} {
		if rest, ok := bytes.CutPrefix(line, []byte(`{"type":"`+kind)); ok && len(rest) > 0 && rest[0] == '"' {
			return kind, nil
		}
	}
	var any struct { // written by someone else's program, in another order
		Type string `json:"type"`
	}
	err := json.Unmarshal(line, &any)
	return any.Type, err
}

// read gives the bytes of the next line, without its newline.
func (m *Reader) read() ([]byte, error) {
	m.number++
	m.long = m.long[:0]
	for {
		piece, err := m.lines.ReadSlice('\n')
		if err == nil && len(m.long) == 0 {
			return piece[:len(piece)-1], nil
		}
		if len(m.long)+len(piece) > maxLine {
			return nil, fmt.Errorf("line %d is longer than %s", m.number, capstan.Bytes(maxLine))
		}
		if need := len(m.long) + len(piece); need > cap(m.long) { // append would grow in smaller steps
			m.long = slices.Grow(m.long, max(len(piece), 1<<20, len(m.long)))
		}
		m.long = append(m.long, piece...)
		switch {
		case err == nil:
			return m.long[:len(m.long)-1], nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("it is cut off in line %d", m.number)
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// damaged gives an error the class of damage, unless it is a failure to read or
// has a class of its own.
func (m *Reader) damaged(err error) error {
	if m.source.err != nil {
		return fmt.Errorf("read manifest: %w", m.source.err)
	}
	if errors.Is(err, capstan.ErrRefused) {
		return err
	}
	return fmt.Errorf("manifest: line %d: %w: %w", m.number, capstan.ErrDamaged, err)
}
