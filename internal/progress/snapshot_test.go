package progress

import (
	"testing"
	"time"

	"capstan"
)

func TestSnapshotRateAndTimeLeft(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		if snap := tracker.Snapshot(); snap.Rate != 0 || snap.Left != -1 || snap.Ratio != 0 {
			t.Errorf("at the start: %+v", snap)
		}
		tracker.Total(0, 1000*capstan.MiB)
		for range 200 { // 10 MiB/s in, half of it out
			pass(500 * time.Millisecond)
			tracker.Count(1, 5*capstan.MiB, 0)
			tracker.Count(0, 0, 5*capstan.MiB/2)
		}
		snap := tracker.Snapshot()
		if snap.Elapsed != 100*time.Second || snap.Entries != 200 || snap.BytesIn != 1000*capstan.MiB {
			t.Errorf("counted: %+v", snap)
		}
		if snap.Ratio != 0.5 || snap.Left != 0 {
			t.Errorf("ratio %v left %v", snap.Ratio, snap.Left)
		}
		if rate := snap.Rate / float64(capstan.MiB); rate < 9 || rate > 11 {
			t.Errorf("rate %.2f MiB/s", rate)
		}

		tracker.Total(0, 1600*capstan.MiB)
		if left := tracker.Snapshot().Left; left < 57*time.Second || left > 63*time.Second {
			t.Errorf("left by bytes: %v", left)
		}
		tracker.Total(440, 1600*capstan.MiB) // 2 entries a second: the slower of the two decides
		if left := tracker.Snapshot().Left; left < 115*time.Second || left > 125*time.Second {
			t.Errorf("left by entries: %v", left)
		}
		pass(11 * time.Second)
		if snap := tracker.Snapshot(); snap.Rate != 0 || snap.Left < 2*time.Minute {
			t.Errorf("after a pause: rate %v left %v", snap.Rate, snap.Left)
		}
		pass(time.Minute)
		if left := tracker.Snapshot().Left; left != -1 {
			t.Errorf("after a long pause: left %v", left)
		}
	})
}

func TestRateOfBurstsInsideASecond(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		for range 20 {
			for range 100 {
				tracker.Count(1, 1000, 0)
			}
			pass(time.Second)
		}
		if rate := tracker.Snapshot().Rate; rate < 90_000 || rate > 111_000 {
			t.Errorf("rate %v of 100000", rate)
		}
	})
}

func TestStagesKeepTheOrderOfFirstUse(t *testing.T) {
	t.Parallel()
	tracker := New(nil)
	names := []string{"scan", "pack", "close", "sync"}
	for _, name := range append(names, "scan", "sync") {
		tracker.Stage(name).Begin()
	}
	snap := tracker.Snapshot()
	if len(snap.Stages) != len(names) {
		t.Fatalf("%d stages", len(snap.Stages))
	}
	for i, name := range names {
		if snap.Stages[i].Name != name || tracker.Report()[i].Name != name {
			t.Errorf("stage %d is %s", i, snap.Stages[i].Name)
		}
	}
	if first, again := tracker.Stage("scan"), tracker.Stage("scan"); first != again || first.Name() != "scan" {
		t.Error("a name has two stages")
	}
}

func TestBottleneck(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		reports []StageReport
		elapsed time.Duration
		want    string
	}{
		{"nothing", nil, time.Minute, ""},
		{"no time", []StageReport{{Name: "pack", SecondsMoving: 1}}, 0, ""},
		{"a stage that never stops", []StageReport{
			{Name: "scan", SecondsMoving: 20, WaitingFor: map[Resource]float64{"pack": 78}},
			{Name: "pack", SecondsMoving: 96, WaitingFor: map[Resource]float64{ForVolume: 3}},
		}, 100 * time.Second, "pack was moving 96 % of the time"},
		{"a slow volume", []StageReport{
			{Name: "scan", SecondsMoving: 10, WaitingFor: map[Resource]float64{"pack": 90}},
			{Name: "pack", SecondsMoving: 22, WaitingFor: map[Resource]float64{ForVolume: 78}},
		}, 100 * time.Second, "78 % of the time pack waited for volume"},
	}
	for _, test := range tests {
		if got := Bottleneck(test.reports, test.elapsed); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestTrackerBottleneck(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		s := tracker.Stage("pack")
		s.Begin()
		pass(time.Second)
		done := s.Wait(ForDrive, "lto1")
		pass(3 * time.Second)
		done()
		if got, want := tracker.Bottleneck(), "75 % of the time pack waited for drive"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
