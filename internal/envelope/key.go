package envelope

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// The beginnings of secret keys; what follows is 58 letters, see sheet.go.
const (
	secretPrefix   = "AGE-SECRET-KEY-1"
	pqSecretPrefix = "AGE-SECRET-KEY-PQ-1"
)

// Key is a secret key with its public half. It prints as the public half alone.
type Key struct {
	identity  age.Identity
	recipient string
	secret    string
}

// NewKey makes a key of the kind that every age program opens (X25519).
func NewKey() (Key, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return Key{}, err
	}
	return Key{identity, identity.Recipient().String(), identity.String()}, nil
}

// NewPostQuantumKey makes a key that also withstands a quantum computer
// (ML-KEM-768 with X25519). Only age 1.3 and later open what is encrypted to it;
// Debian 12 has an older one.
func NewPostQuantumKey() (Key, error) {
	identity, err := age.GenerateHybridIdentity()
	if err != nil {
		return Key{}, err
	}
	return Key{identity, identity.Recipient().String(), identity.String()}, nil
}

// ParseKey reads a secret key, "AGE-SECRET-KEY-1…" or "AGE-SECRET-KEY-PQ-1…", in
// capitals or not. Its errors hold nothing of the text.
func ParseKey(text string) (Key, error) {
	text = strings.ToUpper(strings.TrimSpace(text))
	switch {
	case strings.HasPrefix(text, pqSecretPrefix):
		identity, err := age.ParseHybridIdentity(text)
		if err != nil {
			return Key{}, errBadSecret
		}
		return Key{identity, identity.Recipient().String(), identity.String()}, nil
	case strings.HasPrefix(text, secretPrefix):
		identity, err := age.ParseX25519Identity(text)
		if err != nil {
			return Key{}, errBadSecret
		}
		return Key{identity, identity.Recipient().String(), identity.String()}, nil
	case strings.HasPrefix(text, "AGE1"):
		return Key{}, errors.New("that is a public key; what opens a backup is the secret one (AGE-SECRET-KEY-…)")
	case strings.HasPrefix(text, "AGE-PLUGIN-"):
		return Key{}, errors.New("that is a key of an age plugin, which is not supported; the age program opens the archives with it")
	case strings.HasPrefix(text, "-----BEGIN"):
		return Key{}, errors.New("that is no age key; SSH keys are not taken")
	}
	return Key{}, errors.New("that is no secret key (AGE-SECRET-KEY-…)")
}

var errBadSecret = errors.New("that is no valid secret key: a letter is wrong, missing or too many")

// Recipient is the public half, for --encrypt-to.
func (k Key) Recipient() string { return k.recipient }

// Secret is the secret half in its text form. Whoever has it reads everything.
func (k Key) Secret() string { return k.secret }

// String is the public half.
func (k Key) String() string { return k.recipient }

// GoString is the public half, so that no format prints the secret one.
func (k Key) GoString() string { return "envelope.Key(" + k.recipient + ")" }

// WriteFile writes the key as age-keygen does, for --identity and for age -i. The
// file must be for its owner alone.
func (k Key) WriteFile(w io.Writer, made time.Time) error {
	_, err := fmt.Fprintf(w, "# created: %s\n# public key: %s\n%s\n", made.Format(time.RFC3339), k.recipient, k.secret)
	return err
}

// Protect writes the key under a passphrase, as an armored file that --identity
// and age -i take. It costs half a second and 128 MiB, here and where it is
// opened: once a run, not once a file.
func (k Key) Protect(w io.Writer, passphrase string, made time.Time) error {
	return k.protect(w, passphrase, made, keyFileWorkFactor)
}

// keyFileWorkFactor is the scrypt work factor of a protected key.
const keyFileWorkFactor = 17

func (k Key) protect(w io.Writer, passphrase string, made time.Time, workFactor int) error {
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return usage("protect key", "", err, "")
	}
	recipient.SetWorkFactor(workFactor)
	armored := armor.NewWriter(w)
	stream, err := age.Encrypt(armored, recipient)
	if err != nil {
		return err
	}
	if err := k.WriteFile(stream, made); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	return armored.Close()
}
