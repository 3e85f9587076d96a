package rotation

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/copier"
	"capstan/internal/manifest"
)

// maxSmall bounds what is read whole: sums and signatures.
const maxSmall = 16 << 20

// volume is a volume on which the set lies.
type volume struct {
	capstan.Volume
	run       *run
	replacer  capstan.Replacer
	lease     *catalog.Lease
	sumsText  []byte // SHA256SUMS as it was before the rotation
	signature []byte // and its signature
	statement manifest.Statement
	sums      []manifest.Sum
}

// openVolumes opens every volume that holds the set, and proves what the set says
// of itself there.
func (r *run) openVolumes(ctx context.Context) error {
	holders, err := r.holders(ctx)
	if err != nil {
		return err
	}
	for _, id := range holders {
		info, err := r.Catalog.Volume(ctx, id)
		if err != nil {
			return err
		}
		opened, err := r.Open(ctx, info)
		if err != nil {
			return fmt.Errorf("all volumes of set %s are needed at once: %w", r.set.ID, err)
		}
		v := &volume{Volume: opened, run: r}
		r.volumes = append(r.volumes, v)
		if _, ok := opened.(capstan.Replacer); !ok {
			return r.refuse(fmt.Errorf("a volume of kind %s (%s) cannot replace files", info.Kind, info.Location), "make a new set for the new recipients")
		}
		if err := v.fence(ctx); err != nil {
			return err
		}
		if err := v.prove(ctx); err != nil {
			return err
		}
	}
	if len(r.volumes) == 0 {
		return r.refuse(errors.New("no volume holds it"), "see: capstan show "+string(r.set.ID))
	}
	r.summary.Volumes = len(r.volumes)
	return nil
}

// holders lists the volumes that hold something of the set, its own files at least:
// one in which nothing had changed has no archives, and so no copies.
func (r *run) holders(ctx context.Context) (volumes []capstan.VolumeID, err error) {
	copies, err := r.Catalog.Copies(ctx, r.set.ID)
	if err != nil {
		return nil, err
	}
	demands, err := r.Catalog.Demands(ctx, r.set.ID)
	if err != nil {
		return nil, err
	}
	for _, c := range copies {
		if c.State != capstan.CopyForgotten && !slices.Contains(volumes, c.Volume) {
			volumes = append(volumes, c.Volume)
		}
	}
	for _, d := range demands {
		if d.State == capstan.CopyWritten && !slices.Contains(volumes, d.Volume) {
			volumes = append(volumes, d.Volume)
		}
	}
	return volumes, nil
}

// leaseTime is for how long at a time a rotation has a volume.
const leaseTime = 30 * time.Second

// fence gets the lease of the volume, so that no run finishes a set there meanwhile,
// and whoever lost it writes nothing more.
func (v *volume) fence(ctx context.Context) (err error) {
	v.lease, err = v.run.Catalog.Acquire(ctx, "volume:"+string(v.Info().ID), "rotation of set "+string(v.run.set.ID), leaseTime)
	if err != nil {
		return err
	}
	v.Volume = copier.Fenced(v.Volume, v.lease)
	v.replacer, _ = v.Volume.(capstan.Replacer) // a fenced view is always one
	return nil
}

func (r *run) closeVolumes(ctx context.Context) error {
	var errs []error
	for _, v := range r.volumes {
		if v.lease != nil {
			errs = append(errs, v.lease.Release(context.WithoutCancel(ctx)))
		}
		errs = append(errs, v.Close())
	}
	return errors.Join(errs...)
}

// prove reads sums and signature as they were before the rotation: from the catalog
// if one is open, else from the volume.
func (v *volume) prove(ctx context.Context) (err error) {
	r, id := v.run, v.Info().ID
	if sums, kept := r.open.Find(id, manifest.SumsName); kept {
		signature, _ := r.open.Find(id, manifest.SignatureName)
		v.sumsText, v.signature = sums.Header, signature.Header
	} else {
		if v.sumsText, err = v.small(ctx, manifest.SumsName); err == nil {
			v.signature, err = v.small(ctx, manifest.SignatureName)
		}
	}
	if err == nil {
		v.statement, err = manifest.VerifySignature(v.signature, v.sumsText, r.Key.Public())
	}
	if err == nil && v.statement.Set != r.set.ID {
		err = fmt.Errorf("%w: the signature is that of set %s", capstan.ErrDamaged, v.statement.Set)
	}
	if err == nil {
		v.sums, err = manifest.ParseSums(v.sumsText)
	}
	switch {
	case err == nil:
		return nil
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case errors.Is(err, manifest.ErrUnknownKey):
		return r.refuse(fmt.Errorf("another home signed it on %s, and this one cannot sign for it", v.Info().Location), "rotate it there")
	}
	return r.refuse(fmt.Errorf("what it says of itself on %s is not whole: %w", v.Info().Location, err), "see: capstan verify "+string(r.set.ID))
}

// small reads a small file of the set whole.
func (v *volume) small(ctx context.Context, name string) ([]byte, error) {
	return readSmall(ctx, v.Volume, v.run.set.ID, name)
}

func readSmall(ctx context.Context, from capstan.Volume, set capstan.SetID, name string) ([]byte, error) {
	file, err := from.Open(ctx, set, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if file.Size() > maxSmall {
		return nil, errors.Join(fmt.Errorf("%s: %w: it is %d bytes long", name, capstan.ErrDamaged, file.Size()), file.Close())
	}
	data, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size()))
	return data, errors.Join(err, file.Close())
}

// keepOriginals notes sums and signature in the catalog, before any file changes.
func (v *volume) keepOriginals(ctx context.Context) error {
	if _, kept := v.run.open.Find(v.Info().ID, manifest.SumsName); kept {
		return nil
	}
	for _, w := range []catalog.Rewrap{ // the sums last: they say that both are there
		{Volume: v.Info().ID, Name: manifest.SignatureName, Header: v.signature},
		{Volume: v.Info().ID, Name: manifest.SumsName, Header: v.sumsText},
	} {
		if err := v.run.note(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// tried notes the sums that are about to be written, and gives all that the set may
// have had on the volume since the rotation began: a set that was signed after it may
// name any of them.
func (v *volume) tried(ctx context.Context, sum capstan.Hash) (map[capstan.Hash]bool, error) {
	const name = "sums that were tried"
	w, _ := v.run.open.Find(v.Info().ID, name)
	w.Volume, w.Name, w.Header = v.Info().ID, name, append(w.Header, sum[:]...)
	all := map[capstan.Hash]bool{v.statement.Sums: true}
	for at := 0; at+sha256.Size <= len(w.Header); at += sha256.Size {
		all[capstan.Hash(w.Header[at:at+sha256.Size])] = true
	}
	return all, v.run.note(ctx, w)
}
