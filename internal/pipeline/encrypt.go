package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/envelope"
	"capstan/internal/manifest"
)

// cipher encrypts an archive on its way to a volume, and hashes and counts what
// lies there then. One goroutine uses it.
type cipher struct {
	stream io.WriteCloser
	below  *hashWriter
}

// encrypt puts the run's encryption around the file of an archive; of a run that
// does not encrypt, the file itself, and a nil cipher.
func (r *backupRun) encrypt(file io.Writer) (io.Writer, *cipher, error) {
	if r.Recipients == nil {
		return file, nil, nil
	}
	below := &hashWriter{out: file, sum: sha256.New()}
	stream, err := r.Recipients.Writer(below)
	if err != nil {
		return nil, nil, err
	}
	return stream, &cipher{stream, below}, nil
}

// seal writes what makes the encrypted file whole, and sets the archive's size and
// hash to those of the file.
func (c *cipher) seal(a *capstan.Archive) error {
	if c == nil {
		return nil
	}
	if err := c.stream.Close(); err != nil {
		return err
	}
	a.Size, a.Hash = c.below.n, capstan.Hash(c.below.sum.Sum(nil))
	return nil
}

// encrypting gives the name and the content of a file beside the archives as a set
// keeps it that is encrypted to somebody, or, for nil, to nobody.
func encrypting(to *envelope.Recipients, name string, write func(io.Writer) error) (string, func(io.Writer) error) {
	if to == nil {
		return name, write
	}
	return name + envelope.Suffix, func(w io.Writer) error {
		stream, err := to.Writer(w)
		if err != nil {
			return err
		}
		if err := write(stream); err != nil {
			return err
		}
		return stream.Close()
	}
}

// sameRecipients reports whether an interrupted set was encrypted to those of this
// run; if not, it says so. Of a passphrase only the set's own archives can tell.
func (r *backupRun) sameRecipients(ctx context.Context, set *capstan.Set) (bool, error) {
	had, have := slices.Sorted(slices.Values(set.Recipients)), slices.Sorted(slices.Values(r.Recipients.Strings()))
	same := slices.Equal(had, have)
	if same && r.Recipients.Secret() != nil {
		err := r.opens(ctx, set.ID, r.Recipients.Secret())
		if err != nil && !errors.Is(err, capstan.ErrWrongKey) {
			return false, err
		}
		same = err == nil
	}
	if !same {
		r.Say("interrupted set %s was %s, and this run is %s: starting a new one",
			set.ID, encryption(set.Recipients), encryption(r.Recipients.Strings()))
	}
	return same, nil
}

// opens tries an archive of the set with the identities, wherever one lies: in the
// stage, or on a volume. That none can be read is no error.
func (r *backupRun) opens(ctx context.Context, id capstan.SetID, with *envelope.Identities) error {
	if r.Stage != nil {
		files, err := r.Stage.List(ctx, id)
		if err != nil {
			return err
		}
		for _, f := range files {
			file, err := r.Stage.Open(ctx, id, f.Name)
			if err != nil {
				continue
			}
			_, err = with.OpenAt(file, file.Size())
			if err = errors.Join(err, file.Close()); !errors.Is(err, capstan.ErrDamaged) {
				return err
			}
		}
	}
	other := *r.Engine
	other.Identities = with
	reader := other.newSetReader(id)
	err := reader.unlock(ctx)
	return errors.Join(err, reader.close())
}

// sealAgain finds the recipients of a set that was encrypted by an earlier run: its
// public keys stand in the catalog; of a passphrase the set's archives tell whether
// it is the same. A set whose rotation is open is refused: what a volume gets now would
// be of the old form beside the new.
func (r *backupRun) sealAgain(ctx context.Context, passphrase envelope.Passphrase) (err error) {
	if !r.set.Encrypted() {
		return nil
	}
	rotates, err := r.rotates(ctx, r.set.ID)
	switch {
	case err != nil:
		return err
	case rotates:
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "retry set", Object: string(r.set.ID), Err: errors.New("giving it other recipients was not finished"),
			Safe: "nothing was changed", Next: "call the same capstan key rewrap again first",
		}
	case !envelope.IsPassphrase(r.set.Recipients):
		r.Recipients, err = envelope.ParseRecipients(r.set.Recipients, nil)
		return err
	case passphrase == nil:
		return &capstan.Error{
			Class: capstan.ErrWrongKey, Op: "finish set", Object: string(r.set.ID), Err: errors.New("it is encrypted with a passphrase, and none was given"),
			Safe: "nothing was changed", Next: "give it with --passphrase-file",
		}
	}
	if r.Recipients, err = envelope.ParseRecipients(nil, passphrase); err != nil {
		return err
	}
	return r.locked(ctx, r.set.ID, r.opens(ctx, r.set.ID, r.Recipients.Secret()))
}

func encryption(to []string) string {
	switch {
	case len(to) == 0:
		return "not encrypted"
	case envelope.IsPassphrase(to):
		return "encrypted with a passphrase of its own"
	}
	return "encrypted to " + envelope.Describe(to)
}

// isSetFile reports whether a name is that of a file that a run puts beside the
// archives, in the clear or encrypted.
func isSetFile(name string) bool {
	switch strings.TrimSuffix(name, envelope.Suffix) {
	case manifest.Name, manifest.SumsName, manifest.SignatureName, manifest.DeletedName, manifest.GuideName, manifest.CatalogName:
		return true
	}
	return false
}

// hashWriter passes bytes on, hashing and counting them.
type hashWriter struct {
	out io.Writer
	sum hash.Hash
	n   int64
}

func (h *hashWriter) Write(p []byte) (int, error) {
	n, err := h.out.Write(p)
	h.sum.Write(p[:n])
	h.n += int64(n)
	return n, err
}
