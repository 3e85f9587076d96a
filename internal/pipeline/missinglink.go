package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"capstan"
)

// missingLink says which set of a chain the catalog does not know, where it was,
// and what to do. chain is what is known of the chain, the newest set first.
func (e *Engine) missingLink(ctx context.Context, chain []capstan.Set, missing capstan.SetID, err error) error {
	if !errors.Is(err, capstan.ErrNotFound) {
		return err
	}
	where, sure, err := e.whereWas(ctx, chain[len(chain)-1].ID, missing)
	if err != nil {
		return err
	}
	told := &capstan.Error{
		Class: capstan.ErrIncomplete, Op: "set", Object: string(chain[0].ID),
		Err:  fmt.Errorf("it builds on set %s, which the catalog does not know", missing),
		Safe: "what the sets themselves hold is whole", Next: "read the volume that holds it: capstan catalog rebuild VOLUME",
	}
	if len(where) > 0 {
		verb := "those that build on it are on"
		if sure {
			verb = "it was on"
		}
		told.Err = fmt.Errorf("%w; %s %s", told.Err, verb, strings.Join(where, " and "))
		told.Next = "if it is still there: capstan catalog rebuild " + where[0]
	}
	if len(chain) > 1 {
		told.Err = fmt.Errorf("%w (set %s does)", told.Err, chain[len(chain)-1].ID)
	}
	return told
}

// whereWas gives the places of the volumes on which the missing set was finished,
// if the catalog remembers (sure); else of those that hold the set that builds on
// it, since a job's sets lie together.
func (e *Engine) whereWas(ctx context.Context, after, missing capstan.SetID) (places []string, sure bool, err error) {
	volumes, err := e.Catalog.VolumesOf(ctx, missing)
	if err != nil {
		return nil, false, err
	}
	sure = len(volumes) > 0
	if !sure {
		copies, err := e.Catalog.Copies(ctx, after)
		if err != nil {
			return nil, false, err
		}
		for _, c := range copies {
			volumes = append(volumes, c.Volume)
		}
	}
	seen := map[capstan.VolumeID]bool{}
	for _, id := range volumes {
		if seen[id] {
			continue
		}
		seen[id] = true
		info, err := e.Catalog.Volume(ctx, id)
		if err == nil {
			places = append(places, info.Location)
		} else if !errors.Is(err, capstan.ErrNotFound) {
			return nil, false, err
		}
	}
	return places, sure, nil
}
