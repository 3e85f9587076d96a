package postgres

import (
	"capstan"
	"capstan/internal/codec"
	"capstan/internal/disk"
)

// frameSize is how much data is compressed at a time. Readers take frames, or members
// of gzip, one after another as one stream.
const frameSize = 1 << 20

// frames cuts a stream into frames, and is reused from stream to stream by one
// goroutine.
type frames struct {
	encoder *codec.Encoder
	block   []byte
	out     []byte
	emit    func(frame []byte) error // frame is valid until emit returns
	none    bool                     // nothing was emitted yet
}

func newFrames(c capstan.Codec, level int) (*frames, error) {
	encoder, err := codec.NewEncoder(c, level)
	if err != nil {
		return nil, err
	}
	return &frames{encoder: encoder, block: make([]byte, 0, frameSize)}, nil
}

// begin starts a stream whose frames go to emit.
func (f *frames) begin(emit func([]byte) error) {
	f.emit, f.block, f.none = emit, f.block[:0], true
}

// Write takes a part of the stream.
func (f *frames) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), frameSize-len(f.block))
		f.block = append(f.block, p[:n]...)
		p = p[n:]
		written += n
		if len(f.block) == frameSize {
			if err := f.flush(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// end emits what is left. A stream without content gets a frame too, since a file of
// no bytes is no compressed file.
func (f *frames) end() error {
	if len(f.block) == 0 && !f.none {
		return nil
	}
	return f.flush()
}

func (f *frames) flush() error {
	f.out = f.encoder.Encode(f.out[:0], f.block)
	f.block, f.none = f.block[:0], false
	return f.emit(f.out)
}

// spool writes one file of the dump.
type spool struct {
	d    *dump
	name string // as it is stored
	tag  string // of what is in it
	file *disk.File
}

// create makes a data file for what tag names.
func (d *dump) create(name, tag string) (*spool, error) {
	file, err := d.env.Disk.Create(d.directory.path(name) + d.options.suffix())
	if err != nil {
		return nil, err
	}
	if d.spool == nil {
		file.DropBehind()
	}
	return &spool{d: d, name: name + d.options.suffix(), tag: tag, file: file}, nil
}

func (s *spool) write(frame []byte) error {
	if _, err := s.file.Write(frame); err != nil {
		return err
	}
	s.d.count(0, 0, capstan.Bytes(len(frame)))
	return nil
}

// finish makes the file durable, beside whatever its caller goes on with: a table's
// lock is not held for the sake of a disk.
func (s *spool) finish() {
	if s.d.spool != nil {
		s.d.finishing.Go(s.keep)
		return
	}
	s.d.unsynced.add(s.d.finishing, s.file)
}

// abandon closes the file of a dump that has failed.
func (s *spool) abandon() { _ = s.file.Close() }
