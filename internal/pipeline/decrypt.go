package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"capstan"
	"capstan/internal/envelope"
)

// plain gives what stands in an archive's file, decrypted where it is encrypted,
// and its length. Damage is no error here, it shows where it is read; one that no
// key opens is capstan.ErrWrongKey.
func (r *setReader) plain(ctx context.Context, file capstan.VolumeReader, info capstan.Archive) (io.ReaderAt, int64, error) {
	set, err := r.about(ctx)
	if err != nil {
		return nil, 0, err
	}
	if !set.Encrypted() {
		return file, min(file.Size(), info.Size), nil
	}
	keys := r.engine.Identities.For(set.Recipients)
	if r.rotates {
		keys = r.engine.Identities.For(nil)
	}
	content, err := decrypt(keys, file, info.Size)
	if err != nil && errors.Is(err, capstan.ErrWrongKey) && r.fits && !r.rotates {
		return nil, 0, fmt.Errorf("%w: its header does not open with the key that opens the rest of the set", capstan.ErrDamaged)
	}
	if err != nil {
		return nil, 0, r.engine.locked(ctx, set.ID, err)
	}
	r.fits = true
	if why := content.Damage(); why != nil {
		r.engine.Say("archive %s: %v; what is whole of it is read", info.Name, why)
	}
	return content, content.Size(), nil
}

// about is what the catalog knows of the reader's set.
func (r *setReader) about(ctx context.Context) (capstan.Set, error) {
	if r.known.ID == "" {
		set, err := r.engine.Catalog.Set(ctx, r.set)
		if err != nil {
			return capstan.Set{}, err
		}
		if set.Encrypted() {
			rotation, err := r.engine.Catalog.Rotation(ctx, r.set)
			if err != nil {
				return capstan.Set{}, err
			}
			r.rotates = len(rotation.Recipients) > 0
		}
		r.known = set
	}
	return r.known, nil
}

// decrypt opens an encrypted file that was written with size bytes. What
// does not decrypt reads as zeros, which the archive's own sums find out: so damage
// costs no more than in an archive that is not encrypted.
func decrypt(keys *envelope.Identities, file capstan.VolumeReader, size int64) (*envelope.Plain, error) {
	content, err := keys.Salvage(file, file.Size())
	if err == nil && content.Damage() != nil && file.Size() > size {
		content, err = keys.Salvage(file, size) // something was put behind its end
	}
	return content, err
}

// locked names the set that no key opened; every other error it leaves alone.
func (e *Engine) locked(ctx context.Context, set capstan.SetID, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	wrong, ok := errors.AsType[*capstan.Error](err)
	if !ok || !errors.Is(wrong.Class, capstan.ErrWrongKey) {
		return err
	}
	named := *wrong
	named.Op, named.Object = "decrypt set", string(set)
	return &named
}

// unlock opens one archive of every encrypted set of the chain, so that a wrong
// key is known before anything is written. Archives that cannot be read prove
// nothing; their entries are named when it is their turn. Of a set whose rotation is
// not finished every archive is opened.
func (r *readers) unlock(ctx context.Context, chain []capstan.Set) error {
	for i := range chain {
		if !chain[i].Encrypted() {
			continue
		}
		if err := r.of(chain[i].ID).unlock(ctx); err != nil {
			return err
		}
	}
	return nil
}

// triedKeys is how many archives a key is tried on before it is called wrong: where a
// passphrase was used, a damaged header looks like one.
const triedKeys = 3

func (r *setReader) unlock(ctx context.Context) error {
	archives, err := r.engine.Catalog.Archives(ctx, r.set)
	if err != nil {
		return err
	}
	var wrong []error
	for _, a := range archives {
		_, err := r.archive(ctx, a.Number)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err == nil && !r.rotates {
			return nil
		}
		if !errors.Is(err, capstan.ErrWrongKey) {
			continue
		}
		if wrong = append(wrong, err); r.rotates || len(wrong) == triedKeys {
			break
		}
	}
	if len(wrong) > 0 {
		return wrong[0]
	}
	return nil
}
