package catalog

import (
	"testing"
	"time"

	"capstan"
	"capstan/internal/machine"
)

// A run whose process is gone is marked with the set that it was making, unless
// another run has that by now; one whose process cannot be looked at is left alone.
func TestRunThatIsGone(t *testing.T) {
	t.Parallel()
	const unused = 1 << 30
	tests := []struct {
		name   string
		change func(*machine.Place)
		gone   bool
	}{
		{"this process", func(*machine.Place) {}, false},
		{"earlier boot", func(p *machine.Place) { p.Boot = "another" }, true},
		{"dead process", func(p *machine.Place) { p.PID = unused }, true},
		{"number that another process has now", func(p *machine.Place) { p.Started = "1" }, true},
		{"another machine", func(p *machine.Place) { p.Machine, p.Boot, p.PID = "other/1234", "another", unused }, false},
		{"nothing known", func(p *machine.Place) { *p = machine.Place{PID: unused} }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s := newSite(t)
			there, here := s.open(t, test.change), s.open(t, nil)
			if err := here.EnsureJob(ctx, "job", "", nil, nil); err != nil {
				t.Fatal(err)
			}
			set, err := here.BeginSet(ctx, "job", "host", capstan.CodecNone, nil, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			runs := [2]capstan.RunID{}
			for i, c := range []*Catalog{there, here} { // the second is a verification, for example
				if runs[i], err = c.BeginRun(ctx, set.ID, "job", "backup", time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			for i, others := range []int{1, 0} {
				run, err := here.Run(ctx, runs[0])
				if err != nil || here.Gone(run) != (test.gone && i == 0) {
					t.Errorf("gone %t, %v", here.Gone(run), err)
				}
				marked, err := here.InterruptRun(ctx, runs[0])
				if err != nil || marked != (test.gone && i == 0) {
					t.Errorf("marked %t, %v", marked, err)
				}
				requireSetStatus(t, here, set.ID, capstan.RunRunning)
				if others == 1 {
					continue
				}
				if err := here.FinishRun(ctx, runs[1], capstan.RunComplete, capstan.Counts{}, nil); err != nil {
					t.Fatal(err)
				}
			}
			third, err := there.BeginRun(ctx, set.ID, "job", "resume", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if !test.gone {
				return
			}
			if marked, err := here.InterruptRun(ctx, third); err != nil || !marked {
				t.Errorf("marked %t, %v", marked, err)
			}
			requireSetStatus(t, here, set.ID, capstan.RunInterrupted)
		})
	}
}

func requireSetStatus(t *testing.T, c *Catalog, id capstan.SetID, want capstan.RunStatus) {
	t.Helper()
	if set, err := c.Set(t.Context(), id); err != nil || set.Status != want {
		t.Errorf("the set is %s, %v; want %s", set.Status, err, want)
	}
}
