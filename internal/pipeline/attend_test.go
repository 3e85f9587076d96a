package pipeline

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"capstan"
	"capstan/internal/copier"
	"capstan/internal/progress"
)

// named is a volume of which only the name is asked.
type named struct {
	capstan.Volume
	name string
}

// A volume of several that fails or does not answer is left aside, and what it finds
// when it answers at last is heard by nobody; a single one decides.
func TestAttend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		run := &backupRun{Engine: &Engine{Tracker: progress.New(nil), Warn: func(string, ...any) {}}}
		for _, name := range []string{"well", "hangs", "fails"} {
			run.Volumes = append(run.Volumes, copier.Volume{Info: capstan.VolumeInfo{Location: name}, Opened: &named{name: name}})
		}
		release, broken := make(chan struct{}), errors.New("broken")
		work := func(_ context.Context, volume capstan.Volume) (string, error) {
			switch v := volume.(*named); v.name {
			case "hangs":
				<-release
			case "fails":
				return "", broken
			}
			return "answer", nil
		}
		var heard []string
		found := func(volume capstan.Volume, what string) { heard = append(heard, volume.(*named).name+" "+what) }
		begun := time.Now()
		if err := attend(t.Context(), run, work, found); err != nil || time.Since(begun) != attendTime {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		close(release)
		synctest.Wait()
		if !slices.Equal(heard, []string{"well answer"}) {
			t.Errorf("heard %q", heard)
		}
		if run.Volumes[0].Opened == nil || run.Volumes[1].Opened != nil || run.Volumes[2].Opened != nil {
			t.Errorf("%+v", run.Volumes)
		}
		run.Volumes = []copier.Volume{{Opened: &named{name: "fails"}}}
		if err := attend(t.Context(), run, work, found); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
}
