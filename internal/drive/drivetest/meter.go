package drivetest

import (
	"fmt"

	"capstan"
	"capstan/internal/drive"
)

func limits(b *bench) {
	b.load(plenty, 0)
	got, err := b.d.Limits(b.ctx)
	b.must("limits", err)
	if want := (drive.Limits{Min: 1, Max: 1<<24 - 1}); got != want {
		b.t.Fatalf("limits %+v, want %+v", got, want)
	}
}

// blockLimit: nothing tells of the host adapter's limit, so it is found by trying.
func blockLimit(b *bench) {
	b.load(plenty, 0)
	b.Core.LimitBlocks(100_000)
	if err := b.d.WriteBlock(b.ctx, content(0, 128<<10)); err == nil {
		b.t.Fatal("a block beyond the limit was written")
	}
	got, err := drive.ProbeBlock(b.ctx, b.d, []int{512 << 10, 256 << 10, 128 << 10, 64 << 10, 32 << 10})
	b.must("probe", err)
	if got != 64<<10 {
		b.t.Fatalf("the largest block is %d bytes, want 65536", got)
	}
	b.at(0)
	b.write(0, got)
	b.sync()
	b.onTape(got, 0)
	_, err = drive.ProbeBlock(b.ctx, b.d, []int{512 << 10, 256 << 10})
	b.want("probe of sizes that are all too large", err, drive.ErrBlockLimit)
}

func capacity(b *bench) {
	b.load(10*capstan.MiB, 9*capstan.MiB)
	check := func(want drive.Capacity) {
		b.t.Helper()
		got, err := b.d.Capacity(b.ctx)
		b.must("capacity", err)
		if got != want {
			b.t.Fatalf("capacity %+v, want %+v", got, want)
		}
	}
	check(drive.Capacity{Remaining: 10 * capstan.MiB, Total: 10 * capstan.MiB})
	for i := range 8 {
		b.write(i, block)
	}
	b.sync()
	check(drive.Capacity{Remaining: 7 * capstan.MiB, Total: 10 * capstan.MiB}) // 2 MiB and a little were written
	b.at(9)
	b.write(8, block) // asking has moved nothing
}

func alerts(b *bench) {
	b.load(plenty, 0)
	check := func(want ...drive.Alert) {
		b.t.Helper()
		got, err := b.d.Alerts(b.ctx)
		b.must("alerts", err)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			b.t.Fatalf("alerts %v, want %v", got, want)
		}
	}
	check()
	for _, flag := range []drive.Alert{drive.AlertCleanNow, drive.AlertMedia, 64, 1} {
		b.Core.Alert(int(flag))
	}
	check(1, drive.AlertMedia, drive.AlertCleanNow, 64)
	check() // asking has cleared them
}
