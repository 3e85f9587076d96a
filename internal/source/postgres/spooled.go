package postgres

import (
	"context"

	"capstan"
	"capstan/internal/progress"
)

// Spool takes the files of a dump over, each as soon as it is complete, so that there
// need not be room for all of them at once. Its methods are called from several
// goroutines.
type Spool interface {
	// Grow is called before n more bytes are written for a file, of what tag names. It
	// may wait for room until ctx ends, which it declares on the stage; its error ends
	// the dump.
	Grow(ctx context.Context, stage *progress.Stage, file, tag string, n int) error
	// Keep takes over a complete file, which it may remove. It does not block. The table
	// of contents and the receipt come last, when all else was kept.
	Keep(file, tag, path string, size int64)
}

// DumpInto makes a dump as Dump does, in a private directory that is there and empty,
// and hands each of its files over. It counts nothing in the tracker, and does not watch
// over itself: the caller does. The dump is whole when it returns without an error, and
// not before; what was handed over until an error is of no use. The caller removes the
// directory.
func DumpInto(ctx context.Context, env Env, options Options, dir string, to Spool) (Summary, error) {
	options, err := options.complete()
	if err != nil {
		return Summary{}, err
	}
	place := &Directory{disk: env.Disk, final: dir, part: dir}
	return (&dump{env: env, options: options, directory: place, receipt: newLedger(), spool: to}).whole(ctx)
}

// sessions makes room for connections to the dumped database.
func (d *dump) sessions() *sessions {
	return &sessions{endpoint: d.endpoint}
}

// stage does a step as a stage of its own, so that it is seen when it does not end.
func (d *dump) stage(name string, do func() error) error {
	stage := d.env.Tracker.Stage(name)
	stage.Begin()
	defer stage.End()
	return do()
}

// count counts what is done, unless whoever takes the files does.
func (d *dump) count(entries int64, in, out capstan.Bytes) {
	if d.spool == nil {
		d.env.Tracker.Count(entries, in, out)
	}
}

// grow asks for room for n more bytes.
func (s *spool) grow(ctx context.Context, stage *progress.Stage, n int) error {
	if s.d.spool == nil {
		return nil
	}
	return s.d.spool.Grow(ctx, stage, s.name, s.tag, n)
}

// filler gives what puts frames into the file, of a reading that waits on its stage.
func (s *spool) filler(ctx context.Context, stage *progress.Stage) func([]byte) error {
	return func(frame []byte) error {
		if err := s.grow(ctx, stage, len(frame)); err != nil {
			return err
		}
		return s.write(frame)
	}
}

// keep hands the file over.
func (s *spool) keep() error {
	if err := s.file.Close(); err != nil {
		return err
	}
	s.d.spool.Keep(s.name, s.tag, s.file.Path(), s.file.Size())
	return nil
}

// handOver hands over what is written last: lists of large objects, the receipt and the
// table of contents.
func (d *dump) handOver(lists []string) error {
	for _, name := range append(append([]string{}, lists...), ReceiptName, tocName) {
		path := d.directory.path(name)
		info, err := d.env.Disk.Lstat(path)
		if err != nil {
			return err
		}
		d.spool.Keep(name, name, path, info.Size())
	}
	return nil
}
