package drivetest

import "capstan/internal/drive"

// block is the size that most cases use.
const block = drive.DefaultBlock

func blocks(b *bench) {
	b.load(plenty, 0)
	sizes := []int{block, block, 512, 1, 1023, 4096, block - 1, 37}
	for i, size := range sizes {
		b.write(i, size)
		b.at(int64(i) + 1)
	}
	b.sync()
	b.must("rewind", b.d.Rewind(b.ctx))
	for i, size := range sizes { // each short block into a large buffer
		b.read(i, size)
	}
	b.readOutcome("at the filemark", drive.ErrFilemark)
	b.readOutcome("behind it", drive.ErrEndOfData)
	b.readOutcome("there again", drive.ErrEndOfData)
	b.at(int64(len(sizes)) + 1)
	for _, i := range []int{5, 0, 7, 3} {
		b.must("locate", b.d.Locate(b.ctx, int64(i)))
		b.read(i, sizes[i])
	}
	b.onTape(append(sizes, 0)...)
}

// files writes three files of two blocks each.
func files(b *bench) {
	for i := range 3 {
		b.write(2*i, 1000+i)
		b.write(2*i+1, 10)
		b.sync()
	}
}

func filemarks(b *bench) {
	b.load(plenty, 0)
	files(b)
	b.must("two filemarks", b.d.WriteFilemarks(b.ctx, 2, drive.Buffered))
	b.at(11)
	b.sync()
	b.onTape(1000, 10, 0, 1001, 10, 0, 1002, 10, 0, 0, 0, 0)

	b.must("rewind", b.d.Rewind(b.ctx))
	for _, move := range []struct{ by, to int }{{1, 3}, {1, 6}, {-1, 5}, {-1, 2}, {2, 6}, {3, 11}, {1, 12}, {-3, 9}} {
		at, err := b.d.SpaceFilemarks(b.ctx, move.by)
		b.must("space", err)
		if at != int64(move.to) {
			b.t.Fatalf("%+d filemarks led to object %d, want %d", move.by, at, move.to)
		}
	}
	b.readOutcome("at a filemark", drive.ErrFilemark)
	for range 2 {
		b.readOutcome("at a further one", drive.ErrFilemark)
	}
	b.readOutcome("behind the last", drive.ErrEndOfData)

	b.must("locate", b.d.Locate(b.ctx, 3))
	b.read(2, 1001)
	_, err := b.d.SpaceFilemarks(b.ctx, 6)
	b.want("over more filemarks than there are", err, drive.ErrEndOfData)
	b.refused()
	b.must("locate", b.d.Locate(b.ctx, 3))
	if _, err = b.d.SpaceFilemarks(b.ctx, -2); err == nil {
		b.t.Fatal("more filemarks were passed backwards than there are")
	}
	b.refused()
}

func blockTooLarge(b *bench) {
	b.load(plenty, 0)
	b.write(0, 5000)
	b.write(1, 100)
	b.sync()
	b.must("rewind", b.d.Rewind(b.ctx))
	_, err := b.d.ReadBlock(b.ctx, make([]byte, 4096))
	b.want("read into a small buffer", err, drive.ErrBlockTooLarge)
	b.at(1) // the tape has moved past it
	b.read(1, 100)
	b.must("rewind", b.d.Rewind(b.ctx))
	b.read(0, 5000)
}

func locatePastTheEnd(b *bench) {
	b.load(plenty, 0)
	files(b)
	b.want("locate past the end", b.d.Locate(b.ctx, 10), drive.ErrEndOfData)
	b.refused()
	b.must("locate the end", b.d.Locate(b.ctx, 9))
	b.at(9)
	b.write(6, 77)
	b.sync()
	b.onTape(1000, 10, 0, 1001, 10, 0, 1002, 10, 0, 77, 0)
}

func overwrite(b *bench) {
	b.load(plenty, 0)
	files(b)
	b.must("locate", b.d.Locate(b.ctx, 4))
	b.write(7, 50)
	b.sync()
	b.readOutcome("behind what was written", drive.ErrEndOfData)
	end, err := b.d.SpaceEOD(b.ctx)
	b.must("space to the end", err)
	if end != 6 {
		b.t.Fatalf("the end of data is object %d, want 6", end)
	}
	b.write(8, 51)
	b.sync()
	b.onTape(1000, 10, 0, 1001, 50, 0, 51, 0)
	b.must("locate", b.d.Locate(b.ctx, 3))
	b.read(2, 1001)
	b.read(7, 50)
}

func unterminatedEnd(b *bench) {
	b.load(plenty, 0)
	b.write(0, 100)
	b.sync()
	b.write(1, 200)
	b.must("rewind", b.d.Rewind(b.ctx))
	b.read(0, 100)
	b.readOutcome("at the filemark", drive.ErrFilemark)
	b.read(1, 200)
	b.readOutcome("behind a block without a filemark", drive.ErrEndOfData)
	b.at(3)
	b.onTape(100, 0, 200)
}

func blankTape(b *bench) {
	b.load(plenty, 0)
	b.readOutcome("a blank tape", drive.ErrEndOfData)
	b.readOutcome("a blank tape again", drive.ErrEndOfData)
	end, err := b.d.SpaceEOD(b.ctx)
	b.must("space to the end", err)
	if end != 0 {
		b.t.Fatalf("the end of a blank tape is object %d", end)
	}
	b.write(0, 10)
	b.sync()
	b.onTape(10, 0)
}

// closeAddsNothing: the driver would end an open file by itself.
func closeAddsNothing(b *bench) {
	b.load(plenty, 0)
	b.write(0, 100)
	b.close()
	b.onTape(100)
	b.reopen()
	b.read(0, 100)
}

// movesAddNothing: the driver would write a filemark before a rewind, a locate and an
// unload.
func movesAddNothing(b *bench) {
	b.load(plenty, 0)
	b.write(0, 100)
	b.must("rewind", b.d.Rewind(b.ctx))
	b.onTape(100)
	b.must("locate", b.d.Locate(b.ctx, 1))
	b.write(1, 200)
	b.must("locate", b.d.Locate(b.ctx, 1))
	b.onTape(100, 200)
	b.must("locate", b.d.Locate(b.ctx, 2))
	b.write(2, 300)
	b.must("unload", b.d.Unload(b.ctx))
	b.onTape(100, 200, 300)
}
