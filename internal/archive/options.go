package archive

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"capstan"
	"capstan/internal/codec"
	"capstan/internal/tarfile"
)

// Defaults and limits of Options.
const (
	DefaultFrame   = 4 << 20
	DefaultArchive = 4 * capstan.GiB
	MinArchive     = 64 * capstan.KiB
	minFrame       = 256 << 10
	goodFrame      = 1 << 20 // smaller frames compress noticeably worse
	maxFrames      = 22      // binary logarithm of the most frames of an archive, about
)

// Options say how to pack.
type Options struct {
	Codec capstan.Codec
	Level int // as codec.CheckLevel takes it; 0 is the default
	// FrameSize is how much of the tar stream one frame holds, in bytes; 0 for
	// DefaultFrame. It is rounded to whole tar blocks and kept within what readers accept.
	FrameSize int
	// ArchiveSize bounds an archive's tar stream; 0 for DefaultArchive, at least
	// MinArchive. Only an entry that cannot be split exceeds it: its header takes more
	// than half of it, its content came as Data, or its item is Unsplit.
	ArchiveSize capstan.Bytes
	Workers     int // that read and compress; 0 for GOMAXPROCS
	// Memory bounds the buffers of all frames in flight, before and after
	// compression; 0 for no bound but that of the workers. Where it is small, frames
	// get smaller (to 1 MiB), then workers fewer, then frames smaller still. Below
	// three frames of 256 KiB (1.5 MiB) it is exceeded. Encoders come on top: some
	// 1 MiB a worker at level 1, tens of MiB at the highest levels.
	Memory capstan.Bytes
	Hooks  Hooks
}

// The stages and resources that Hooks.Wait names. A stage may also wait for
// another stage.
const (
	StageLayout = "layout" // within Add and Close
	StagePack   = "pack"   // reading contents and compressing
	StageWrite  = "write"  // writing archives
	OnSource    = "source" // a Content's Read
	OnVolume    = "volume" // the writer that Sink.Begin gave
)

// The steps that Hooks.Step names.
const (
	StepTarClose        = "tar close"        // the last frame, with the mark that ends a tar stream
	StepCompressorClose = "compressor close" // the index of the frames
)

// Hooks tell the caller what moves and what waits. Each may be nil, is called
// from several goroutines, and must return at once.
type Hooks struct {
	Packed func(n int64) // n bytes of the tar stream were compressed
	Wrote  func(n int64) // n bytes of an archive were written
	// Step is called when a key step of an archive's end begins, StepTarClose or
	// StepCompressorClose, and what it returns when that is over; both are within
	// what is written. It is called from the goroutine of Sink.
	Step func(step string) func()
	// Wait is called when a stage begins to wait, and what it returns when the
	// wait is over. At most one wait of a stage is open at a time: one of several
	// workers is no wait of their stage while others work. Calls of Sink methods
	// are not declared here: a sink knows better what it waits for.
	Wait func(stage, on string) func()
}

// Sink receives what the packer produces. All its methods are called from one
// goroutine, in order, but not the one that calls Add.
type Sink interface {
	// Begin starts the next archive; its bytes go to the writer until Sealed.
	Begin(ctx context.Context) (capstan.ArchiveNumber, io.Writer, error)
	// Entries hands over finished entries with location, hash and outcome, once
	// the frames that hold them were written to the writer. An entry that could
	// not be stored has no location. The slice is the sink's to keep.
	Entries(ctx context.Context, entries []capstan.Entry) error
	// Sealed tells that the archive is complete, after all entries that end in
	// it: Number, Codec, Entries (tar entries, so that parts count), TarSize,
	// Size and Hash are set. The writer is not used any more.
	Sealed(ctx context.Context, sealed capstan.Archive) error
}

// plan is what Options come to.
type plan struct {
	codec   capstan.Codec
	level   int
	frame   int // bytes
	slots   int // frames
	workers int
	archive int64 // bytes
}

func (o *Options) plan() (plan, error) {
	level, err := codec.CheckLevel(o.Codec, o.Level)
	if err != nil {
		return plan{}, err
	}
	p := plan{codec: o.Codec, level: level, frame: o.FrameSize, workers: o.Workers, archive: int64(o.ArchiveSize)}
	if p.archive == 0 {
		p.archive = int64(DefaultArchive)
	}
	if p.archive < int64(MinArchive) {
		return plan{}, fmt.Errorf("an archive size of %v is too small, the least is %v", o.ArchiveSize, MinArchive)
	}
	if p.frame == 0 {
		p.frame = DefaultFrame
	}
	p.frame = max(tarfile.Block, min(p.frame, codec.MaxFrame)&^(tarfile.Block-1))
	if p.workers <= 0 {
		p.workers = runtime.GOMAXPROCS(0)
	}
	p.fit(int64(o.Memory))
	// An index of more frames than readers accept would be of no use.
	p.frame = max(p.frame, int(min(p.archive>>maxFrames, codec.MaxFrame))&^(tarfile.Block-1))
	return p, nil
}

// cutting is the size from which a content is looked at before it is packed. At
// zstd's first level that is a whole frame: the library passes over what does not
// compress at 3 GB/s, a cut costs what the rest of the frame would have compressed
// to, and within a frame it finds what is there twice.
func (p *plan) cutting() int64 {
	if p.codec == capstan.CodecZstd && p.level == 1 {
		return max(worthCutting, int64(p.frame))
	}
	return worthCutting
}

// fit makes frames, slots and workers fit into memory. A worker has a frame in
// hand, the layout another, the writer a third; more of them even out the pace.
func (p *plan) fit(memory int64) {
	slots := func() int { return int(min(memory/p.slotSize(), int64(2*p.workers+2))) }
	if memory <= 0 {
		memory = int64(2*p.workers+2) * p.slotSize()
	}
	for slots() < p.workers+2 && p.frame >= 2*goodFrame {
		p.frame = p.frame / 2 &^ (tarfile.Block - 1)
	}
	for slots() < 3 && p.frame >= 2*minFrame {
		p.frame = p.frame / 2 &^ (tarfile.Block - 1)
	}
	p.slots = max(slots(), 3)
	p.workers = min(p.workers, p.slots-2)
}

// slotSize is the memory of one frame in flight.
func (p *plan) slotSize() int64 {
	if p.codec == capstan.CodecNone {
		return int64(p.frame)
	}
	return int64(p.frame) + int64(codec.Bound(p.codec, p.frame))
}
