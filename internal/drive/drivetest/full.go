package drivetest

import (
	"errors"

	"capstan"
	"capstan/internal/drive"
)

// fill writes blocks until one is not written, and gives how many were, and how many
// of those without a warning.
func (b *bench) fill() (written, silent int) {
	b.t.Helper()
	for {
		err := b.d.WriteBlock(b.ctx, content(written, block))
		switch {
		case err == nil && silent == written:
			silent++
		case err == nil:
			b.t.Fatalf("block %d was written without a warning, behind %d that had one", written, written-silent)
		case errors.Is(err, drive.ErrEndOfTape):
			return written, silent
		default:
			b.want("write", err, drive.ErrEarlyWarning)
		}
		written++
	}
}

// onlyBlocks is what onTape expects of n blocks.
func onlyBlocks(n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = block
	}
	return sizes
}

func earlyWarning(b *bench) {
	b.load(4*capstan.MiB, 2*capstan.MiB)
	n := 0
	for ; ; n++ { // the block that meets the warning is written
		if err := b.d.WriteBlock(b.ctx, content(n, block)); err != nil {
			b.want("write", err, drive.ErrEarlyWarning)
			n++
			break
		}
	}
	b.at(int64(n))
	b.onTape(onlyBlocks(n)...)
	if n != 8 { // 2 MiB hold seven blocks with what surrounds them
		b.t.Fatalf("the warning came with block %d, want the 8th", n)
	}
	b.sync() // there is room for a trailer
	b.want("write a trailer", b.d.WriteBlock(b.ctx, content(n, 512)), drive.ErrEarlyWarning)
	b.sync()
	b.at(int64(n) + 3)
	b.onTape(append(onlyBlocks(n), 0, 512, 0)...)
	b.must("rewind", b.d.Rewind(b.ctx))
	for i := range n {
		b.read(i, block)
	}
}

func hardEnd(b *bench) {
	b.load(3*capstan.MiB, 2*capstan.MiB)
	written, silent := b.fill()
	if written != 11 || silent != 7 {
		b.t.Fatalf("%d blocks were written, %d of them without a warning; want 11 and 7", written, silent)
	}
	for range 3 { // also by turns nothing is written
		b.want("write at the end", b.d.WriteBlock(b.ctx, content(99, block)), drive.ErrEndOfTape)
	}
	b.at(int64(written))
	b.sync() // which is small, and has room here
	b.onTape(append(onlyBlocks(written), 0)...)
	b.must("rewind", b.d.Rewind(b.ctx))
	for i := range written {
		b.read(i, block)
	}
	b.readOutcome("the filemark", drive.ErrFilemark)

	// Not even a filemark: 8 bytes surround the block, which ends with the tape.
	b.load(1000+8, 0)
	b.write(0, 1000)
	if err := b.d.WriteFilemarks(b.ctx, 1, drive.Sync); !errors.Is(err, drive.ErrEndOfTape) && !errors.Is(err, drive.ErrPositionLost) {
		b.t.Fatalf("filemark at the end: %v", err)
	}
	b.onTape(1000)
}
