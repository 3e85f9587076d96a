package doctor

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/config"
)

func examine(t *testing.T, d *Doctor) map[string]Finding {
	t.Helper()
	d.Sample = capstan.MiB
	found := map[string]Finding{}
	if err := d.Examine(t.Context(), func(f Finding) { found[f.Check] = f }); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestExamineMeasuresHomeAndVolumes(t *testing.T) {
	t.Parallel()
	volume := t.TempDir()
	d := &Doctor{
		Home:    config.Home{Dir: t.TempDir()},
		Volumes: []capstan.VolumeInfo{{Location: volume}},
		Open:    func(context.Context, capstan.VolumeInfo) error { return nil },
	}
	found := examine(t, d)
	for _, check := range []string{"home", "volume " + volume} {
		if f := found[check]; f.Level == Bad || !strings.Contains(f.Detail, "/s, a sync takes") {
			t.Errorf("%s: %+v", check, f)
		}
	}
	for _, dir := range []string{volume, d.Home.Dir} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s holds %v after the measurement, %v", dir, left, err)
		}
	}
	if f := found["tool tar"]; f.Level != Good || !strings.Contains(f.Detail, "tar") {
		t.Errorf("tar: %+v", f)
	}
}

func TestExamineNamesAVolumeThatIsNotThere(t *testing.T) {
	t.Parallel()
	d := &Doctor{
		Home:    config.Home{Dir: t.TempDir()},
		Volumes: []capstan.VolumeInfo{{Location: "/nowhere"}},
		Open:    func(context.Context, capstan.VolumeInfo) error { return errors.New("no marker") },
	}
	if f := examine(t, d)["volume /nowhere"]; f.Level != Bad || f.Advice == "" || f.Detail != "no marker" {
		t.Errorf("%+v", f)
	}
}
