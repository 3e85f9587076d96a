package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"capstan"
	"capstan/internal/manifest"
)

// provenance proves what a set on a volume says about itself: its sums are those
// that its home signed, and that this catalog recorded; and the set before it on
// the volume is still the one that was there. What is wrong comes as doubts, each a sentence; sums
// that cannot be believed at all are not given. The error is the cause of ctx or
// the catalog's.
func (e *Engine) provenance(ctx context.Context, volume capstan.Volume, set *capstan.Set) (own openedSums, doubts []string, err error) {
	at := fmt.Sprintf("set %s on %s", set.ID, volume.Info().Location)
	if rotates, err := e.rotates(ctx, set.ID); err != nil || rotates {
		return openedSums{}, []string{unfinishedRotation}, err
	}
	own, err = e.readSums(ctx, volume, set.ID)
	if err != nil {
		return openedSums{}, []string{err.Error()}, context.Cause(ctx)
	}
	recorded, known, err := e.Catalog.Sums(ctx, set.ID, volume.Info().ID)
	switch {
	case err != nil:
		return openedSums{}, nil, err
	case own.stranger && set.Claim != "":
		doubts = append(doubts, fmt.Sprintf(
			"this home made it, but another one signed it (key …%s): its %s was replaced", tail(own.statement.Key), manifest.SumsName))
	case known && recorded != own.statement.Sums:
		doubts = append(doubts, fmt.Sprintf(
			"its %s is not the one that the catalog recorded: the set was replaced, or an older form of it put back", manifest.SumsName))
	case own.stranger:
		e.Say("%s was signed by another home (key …%s)", at, tail(own.statement.Key))
	}
	link, err := e.link(ctx, volume, own.statement, at)
	if link != "" {
		doubts = append(doubts, link)
	}
	return own, doubts, err
}

// unfinishedRotation is all that can be said of the sums of such a set.
const unfinishedRotation = "giving it other recipients was not finished: the old and the new keys together open it, and its sums are not made yet; " +
	"call the same capstan key rewrap again"

// rotates reports whether a rotation of the set is open.
func (e *Engine) rotates(ctx context.Context, set capstan.SetID) (bool, error) {
	rotation, err := e.Catalog.Rotation(ctx, set)
	return len(rotation.Recipients) > 0, err
}

// link checks that the set before this one on the volume is still the one that
// the signature covers. It gives what is wrong; one that retention took away is
// right to be gone, which the catalog knows.
func (e *Engine) link(ctx context.Context, volume capstan.Volume, statement manifest.Statement, at string) (string, error) {
	previous := statement.Previous
	if previous == "" {
		return "", nil
	}
	if rotates, err := e.rotates(ctx, previous); rotates || err != nil && !errors.Is(err, capstan.ErrNotFound) {
		return "", err // its own check says so
	}
	text, err := readSmall(ctx, volume, previous, manifest.SumsName)
	if cause := context.Cause(ctx); cause != nil {
		return "", cause
	}
	switch {
	case err == nil && sha256.Sum256(text) == statement.PreviousSums:
		return "", nil
	case err == nil:
		recorded, known, err := e.Catalog.Sums(ctx, previous, volume.Info().ID)
		if err != nil || known && recorded == sha256.Sum256(text) {
			// It is what the catalog says: it got other recipients while this one was signed.
			return "", err
		}
		return fmt.Sprintf("set %s is not the one that stood before it: its %s was replaced", previous, manifest.SumsName), nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("the set that stood before it, %s, cannot be read: %v", previous, err), nil
	}
	expected, err := e.expected(ctx, previous, volume.Info().ID)
	switch {
	case err != nil:
		return "", err
	case expected == wanted:
		return fmt.Sprintf("set %s, which stood before it, is gone from the volume: neither this home nor its retention removed it", previous), nil
	case expected == unheardOf:
		e.Say("%s was signed after set %s, which is no longer there, and which this catalog does not know", at, previous)
	}
	return "", nil
}

// Whether a set should be on a volume.
const (
	unheardOf = iota // the catalog does not know it
	wanted
	removed // by retention
)

func (e *Engine) expected(ctx context.Context, set capstan.SetID, volume capstan.VolumeID) (int, error) {
	copies, err := e.Catalog.Copies(ctx, set)
	if errors.Is(err, capstan.ErrNotFound) {
		if _, was, err := e.Catalog.WasForgotten(ctx, set); err != nil || was {
			return removed, err
		}
		_, was, err := e.Catalog.Sums(ctx, set, volume)
		if was { // sums outlive the set
			return removed, err
		}
		return unheardOf, err
	}
	if err != nil {
		return unheardOf, err
	}
	for _, c := range copies {
		if c.Volume == volume && c.State != capstan.CopyForgotten {
			return wanted, nil
		}
	}
	demands, err := e.Catalog.Demands(ctx, set) // one without archives has no copies
	if slices.Contains(demands, capstan.Demand{Volume: volume, State: capstan.CopyWritten}) {
		return wanted, err
	}
	return removed, err
}

// prove says, before a restore writes anything, what is doubtful about the
// signatures of the chain's sets, and gives it back. The restore goes on: each content
// is proven against the hash that the catalog recorded, whoever signed the rest.
func (r *readers) prove(ctx context.Context, chain []capstan.Set) ([]Problem, error) {
	var found []Problem
	for i := range chain {
		set := &chain[i]
		if set.Status != capstan.RunComplete && set.Status != capstan.RunPartial {
			continue // its run has not signed it yet
		}
		volume, err := r.of(set.ID).firstVolume(ctx)
		if err != nil {
			return nil, err
		}
		if volume == nil {
			continue // its entries are named when they cannot be read
		}
		_, doubts, err := r.engine.provenance(ctx, volume, set)
		if err != nil {
			return nil, err
		}
		for _, doubt := range doubts {
			at := fmt.Sprintf("set %s on %s", set.ID, volume.Info().Location)
			r.engine.Say("%s: %s", at, doubt)
			found = append(found, Problem{Object: at, Reason: doubt})
		}
	}
	return found, nil
}

// firstVolume opens the volume that the set's archives are read from, or its own files
// where it has no archives; nil where none can be opened.
func (r *setReader) firstVolume(ctx context.Context) (capstan.Volume, error) {
	copies, err := r.engine.Catalog.Copies(ctx, r.set)
	if err != nil {
		return nil, err
	}
	demands, err := r.engine.Catalog.Demands(ctx, r.set)
	if err != nil {
		return nil, err
	}
	var candidates []capstan.VolumeID
	for _, c := range copies {
		if len(readable([]capstan.Copy{c}, c.Number)) > 0 {
			candidates = append(candidates, c.Volume)
		}
	}
	for _, d := range demands { // a set without archives has no copies
		if d.State == capstan.CopyWritten {
			candidates = append(candidates, d.Volume)
		}
	}
	tried := map[capstan.VolumeID]bool{}
	for _, id := range candidates {
		if tried[id] {
			continue
		}
		tried[id] = true
		volume, err := r.volume(ctx, id)
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if err == nil {
			return volume, nil
		}
	}
	return nil, nil //nolint:nilnil // no volume is an answer
}
