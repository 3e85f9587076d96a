package envelope

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"sync"

	"filippo.io/age"

	"capstan"
)

// The cost of a passphrase: scrypt with r = 8, p = 1 and N = 2 to the work
// factor takes 2^(10 + work factor) bytes of memory, for every file.
const (
	// writeWorkFactor costs 64 MiB and some 0.2 s. age's own choice, 18, costs
	// 256 MiB, which a small machine does not have beside a backup's buffers.
	writeWorkFactor = 16
	// maxWorkFactor costs 1 GiB. It bounds what a foreign file can make a reader
	// use; age itself writes 18, and rage what takes a second where it ran.
	maxWorkFactor = 20
	// trialWorkFactor costs nothing, and its number is as long as the others'.
	trialWorkFactor = 10
	// strongPassphrase is the length, in bytes, below which one is called weak.
	strongPassphrase = 12
)

// Passphrase gives a passphrase: it reads it somewhere, or asks for it, as the
// Reveal of a config.Secret does. It is called once at most, and only where a
// passphrase is needed. What it gives is one line, without the end of the line:
// age takes a passphrase from a terminal alone.
type Passphrase func() (string, error)

// once keeps what a Passphrase gave.
func (p Passphrase) once() Passphrase {
	if p == nil {
		return nil
	}
	return sync.OnceValues(p)
}

// othersBits of a mode let everybody read or write.
const othersBits fs.FileMode = 0o006

// errOpenToAll reports a secret that everybody on the machine may read or replace.
var errOpenToAll = errors.New("everybody may read or write it")

// readSmallFile reads a file whole, at most limit bytes; or a pipe, and then waits
// for its writer. A file that holds a secret must not be open to everybody.
func readSmallFile(path string, limit int64, secret bool) (data []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	mode := info.Mode()
	if secret && mode.IsRegular() && mode.Perm()&othersBits != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%w (mode %04o)", errOpenToAll, mode.Perm())
	}
	data, err = io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("it is longer than %s", capstan.Bytes(limit))
	}
	return data, nil
}

// secretFileError classes an error of readSmallFile.
func secretFileError(op, path string, err error) error {
	if errors.Is(err, errOpenToAll) {
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: op, Object: path, Err: err, Safe: "it was not read",
			Next: "if it is still secret, chmod 600 it; if not, make another",
		}
	}
	return usage(op, path, err, "")
}

// passphraseIdentity opens files that were encrypted with a passphrase. It does
// not ask for it unless there is such a file.
type passphraseIdentity struct{ secret Passphrase }

// Unwrap is that of age.Identity.
func (i *passphraseIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != stanzaScrypt {
		return nil, age.ErrIncorrectIdentity
	}
	if args := stanzas[0].Args; len(args) == 2 {
		if factor, err := strconv.Atoi(args[1]); err == nil && factor > maxWorkFactor {
			return nil, &capstan.Error{
				Class: capstan.ErrRefused, Op: "decrypt",
				Err:  fmt.Errorf("its passphrase has work factor %d, and more than %d would take over 1 GiB of memory", factor, maxWorkFactor),
				Next: "if the file is yours, decrypt it with: age -d",
			}
		}
	}
	secret, err := i.secret()
	if err != nil {
		if _, ok := errors.AsType[*capstan.Error](err); ok {
			return nil, err
		}
		return nil, &capstan.Error{Op: "get passphrase", Err: err}
	}
	identity, err := age.NewScryptIdentity(secret)
	if err != nil {
		return nil, usage("decrypt", "", err, "")
	}
	identity.SetMaxWorkFactor(maxWorkFactor)
	return identity.Unwrap(stanzas)
}
