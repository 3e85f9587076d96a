package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"capstan"
	"capstan/internal/manifest"
)

// maxSums bounds how much of a SHA256SUMS or its signature is read: a hundred
// thousand archives fit in it.
const maxSums = 16 << 20

// openedSums is what a set says about its own files.
type openedSums struct {
	sums      []manifest.Sum
	statement manifest.Statement
	stranger  bool // signed by another home's key
}

// readSums reads a set's SHA256SUMS and proves its signature. Damage wraps
// capstan.ErrDamaged, an unfinished set fs.ErrNotExist.
func (e *Engine) readSums(ctx context.Context, volume capstan.Volume, set capstan.SetID) (openedSums, error) {
	text, err := readSmall(ctx, volume, set, manifest.SumsName)
	if err != nil {
		return openedSums{}, err
	}
	signature, err := readSmall(ctx, volume, set, manifest.SignatureName)
	if errors.Is(err, fs.ErrNotExist) {
		return openedSums{}, fmt.Errorf("%s: %w: it is missing, and %s is there: it was taken away, or the run was killed at its very end", manifest.SignatureName, capstan.ErrDamaged, manifest.SumsName)
	}
	if err != nil {
		return openedSums{}, err
	}
	statement, err := manifest.VerifySignature(signature, text, e.Key.Public())
	stranger := errors.Is(err, manifest.ErrUnknownKey)
	if err != nil && !stranger {
		return openedSums{}, fmt.Errorf("%s: %w", manifest.SignatureName, err)
	}
	if statement.Set != set {
		return openedSums{}, fmt.Errorf("%w: the signature is that of set %s", capstan.ErrDamaged, statement.Set)
	}
	sums, err := manifest.ParseSums(text)
	if err != nil {
		return openedSums{}, fmt.Errorf("%s: %w", manifest.SumsName, err)
	}
	return openedSums{sums: sums, statement: statement, stranger: stranger}, nil
}

// tail is the part of a key that tells it from others: its head is the same for all.
func tail(key manifest.PublicKey) string {
	text := key.String()
	return text[max(len(text)-16, 0):]
}

// readSmall reads a small file of a set whole.
func readSmall(ctx context.Context, volume capstan.Volume, set capstan.SetID, name string) ([]byte, error) {
	file, err := volume.Open(ctx, set, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if file.Size() > maxSums {
		return nil, errors.Join(fmt.Errorf("%s: %w: it is %d bytes long", name, capstan.ErrDamaged, file.Size()), file.Close())
	}
	data, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size()))
	return data, errors.Join(err, file.Close())
}

// setFiles checks what stands beside the archives: the signature, that the sums
// and the catalog agree about every archive, and the bytes of the small files. It
// names what is wrong and returns only the cause of ctx or a catalog's error.
func (v *verifyRun) setFiles(ctx context.Context, volume capstan.Volume, set capstan.Set, checks []*copyCheck) error {
	at := fmt.Sprintf("set %s on %s", set.ID, volume.Info().Location)
	own, doubts, err := v.provenance(ctx, volume, &set)
	if err != nil {
		return err
	}
	for _, doubt := range doubts {
		v.problem(at, doubt)
	}
	if own.sums == nil {
		return nil
	}
	recorded := make(map[string]capstan.Hash, len(checks))
	for _, check := range checks {
		recorded[check.archive.Name] = check.archive.Hash
	}
	var small []manifest.Sum
	for _, sum := range own.sums {
		hash, isArchive := recorded[sum.Name]
		switch {
		case !isArchive:
			small = append(small, sum)
		case hash != sum.Hash:
			v.problem(at, fmt.Sprintf("%s and the catalog disagree about %s", manifest.SumsName, sum.Name))
		}
		delete(recorded, sum.Name)
	}
	for name := range recorded {
		v.problem(at, fmt.Sprintf("%s does not list %s", manifest.SumsName, name))
	}
	open := func(ctx context.Context, name string) (capstan.VolumeReader, error) {
		return volume.Open(ctx, set.ID, name)
	}
	findings, err := manifest.Check(ctx, small, open, nil)
	for _, finding := range findings {
		v.problem(at, fmt.Sprintf("%s is %s: %v", finding.Name, finding.State, finding.Err))
	}
	return err
}
