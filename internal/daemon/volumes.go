package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"capstan"
	"capstan/internal/copier"
)

// openTime bounds how long one volume of several may take to be opened.
const openTime = 20 * time.Second

// Volumes opens the volumes that the user named, for writing. Of several, one
// that the catalog knows and that cannot be opened now is given unopened, with a
// word: the others need not wait for it. A volume that is named twice is refused.
func (d *Daemon) Volumes(ctx context.Context, specs []string) (volumes []copier.Volume, err error) {
	defer func() {
		for _, v := range volumes {
			if err != nil && v.Opened != nil {
				err = errors.Join(err, v.Opened.Close())
			}
		}
	}()
	opened := 0
	var failures []error
	for _, spec := range specs {
		volume, err := d.volume(ctx, spec, len(specs) > 1)
		if err != nil {
			return volumes, err
		}
		if slices.ContainsFunc(volumes, func(v copier.Volume) bool { return v.Info.ID == volume.Info.ID }) {
			volumes = append(volumes, volume.Volume)
			return volumes, &capstan.Error{Class: capstan.ErrUsage, Op: "backup to", Object: spec, Err: errors.New("the volume is named twice")}
		}
		volumes = append(volumes, volume.Volume)
		if volume.Opened != nil {
			opened++
		} else {
			failures = append(failures, volume.problem)
		}
	}
	if opened == 0 && len(specs) > 0 {
		return volumes, errors.Join(failures...)
	}
	return volumes, nil
}

// maybe is a volume, or why it could not be opened now.
type maybe struct {
	copier.Volume
	problem error
}

// volume opens one volume. Of several, a known one may stay away.
func (d *Daemon) volume(ctx context.Context, spec string, several bool) (maybe, error) {
	if !several {
		volume, err := d.Volume(ctx, spec)
		if err != nil {
			return maybe{}, err
		}
		return maybe{Volume: copier.Volume{Info: volume.Info(), Opened: volume}}, nil
	}
	path, err := VolumePath(spec)
	if err != nil {
		return maybe{}, err
	}
	known, found, err := d.Catalog.VolumeByLocation(ctx, path)
	if err != nil {
		return maybe{}, err
	}
	type result struct {
		volume capstan.Volume
		err    error
	}
	results := make(chan result, 1) // of a call that may hang for good
	go func() {
		volume, err := d.Volume(ctx, spec)
		results <- result{volume, err}
	}()
	timer := time.NewTimer(openTime)
	defer timer.Stop()
	var r result
	select {
	case r = <-results:
	case <-timer.C:
		r.err = fmt.Errorf("it did not answer within %v", openTime)
	case <-ctx.Done():
		return maybe{}, context.Cause(ctx)
	}
	if r.err == nil {
		return maybe{Volume: copier.Volume{Info: r.volume.Info(), Opened: r.volume}}, nil
	}
	if !found {
		return maybe{}, r.err
	}
	d.warn("volume %s cannot be opened now and is tried again later: %v", spec, r.err)
	return maybe{Volume: copier.Volume{Info: known}, problem: r.err}, nil
}
