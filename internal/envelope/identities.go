package envelope

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"

	"capstan"
)

// The kinds of recipients in a header, as the format names them.
const (
	stanzaX25519 = "X25519"
	stanzaHybrid = "mlkem768x25519"
	stanzaScrypt = "scrypt"
)

// Identities are what opens encrypted files: secret keys, and perhaps a
// passphrase. They do not change and may be used from several goroutines. nil has
// nothing and opens nothing.
type Identities struct {
	all        []age.Identity
	names      []string // public keys
	passphrase bool
	known      []string // to whom the files are encrypted; nil: not known
}

// LoadIdentities reads secret keys from files: such as age-keygen and
// Key.WriteFile write, the same under a passphrase (age -p, Key.Protect), and
// recovery sheets that were typed in (ReadSheet). passphrase may be nil; it
// opens protected key files, and files of sets that were encrypted with it.
//
// A path may lead to a pipe, and then the call waits for its writer. A key file
// that everybody may read or write is capstan.ErrRefused; a passphrase that does
// not fit a protected one is capstan.ErrWrongKey; a file that holds no key, or is
// not there, is capstan.ErrUsage.
func LoadIdentities(files []string, passphrase Passphrase) (*Identities, error) {
	passphrase = passphrase.once()
	i := &Identities{passphrase: passphrase != nil}
	for _, path := range files {
		keys, err := loadKeys(path, passphrase)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			i.include(key)
		}
	}
	if passphrase != nil {
		i.all = append(i.all, &passphraseIdentity{passphrase})
	}
	return i, nil
}

// IdentitiesOf are the given keys.
func IdentitiesOf(keys ...Key) *Identities {
	i := &Identities{}
	for _, key := range keys {
		i.include(key)
	}
	return i
}

func (i *Identities) include(key Key) {
	if !slices.Contains(i.names, key.recipient) {
		i.all, i.names = append(i.all, key.identity), append(i.names, key.recipient)
	}
}

// For gives the same identities for files of which it is recorded to whom they
// are encrypted (Recipients.Strings), so that errors can say which key is wanted,
// and tell a damaged file from a wrong key.
func (i *Identities) For(recipients []string) *Identities {
	if i == nil {
		return &Identities{known: recipients}
	}
	other := *i
	other.known = recipients
	return &other
}

// Strings are the public keys of the identities, then the word "passphrase" if
// there is one.
func (i *Identities) Strings() []string {
	if i == nil {
		return nil
	}
	names := slices.Clone(i.names)
	if i.passphrase {
		names = append(names, passphraseName)
	}
	return names
}

// String is for messages: the public keys, shortened.
func (i *Identities) String() string { return list(i.Strings()) }

// fileKey gets the key of a file from its header.
func (i *Identities) fileKey(header []byte) ([]byte, error) {
	if i == nil || len(i.all) == 0 {
		return nil, i.wrongKey(stanzaTypes(header))
	}
	key, err := age.DecryptHeader(header, i.all...)
	return key, i.classed(err)
}

// classed gives an error of age's opening a header its class.
func (i *Identities) classed(err error) error {
	if err == nil {
		return nil
	}
	if none, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return i.wrongKey(none.StanzaTypes)
	}
	if _, ok := errors.AsType[*capstan.Error](err); ok {
		return err
	}
	return damaged("the header is not what was written: %w", err)
}

// wrongKey says that no identity fits a file that is encrypted to these kinds.
func (i *Identities) wrongKey(kinds []string) error {
	var have, known []string
	if i != nil {
		have, known = i.Strings(), i.known
	}
	withPassphrase := slices.Equal(kinds, []string{stanzaScrypt})
	if !withPassphrase && slices.ContainsFunc(known, func(k string) bool { return k != passphraseName && slices.Contains(have, k) }) {
		return damaged("the key is right (%s), but the header does not open with it", list(have))
	}
	e := &capstan.Error{Class: capstan.ErrWrongKey, Op: "decrypt", Next: "name the file of its secret key with --identity"}
	switch {
	case withPassphrase:
		e.Next = "give its passphrase with --passphrase-file"
		e.Err = errors.New("it is encrypted with a passphrase, and none was given")
		if slices.Contains(have, passphraseName) {
			e.Err = errors.New("the passphrase is not the one that it is encrypted with")
		}
	case len(known) > 0:
		e.Err = fmt.Errorf("it is encrypted to %s%s", list(known), notGiven(have))
	default:
		e.Err = fmt.Errorf("it is encrypted to %s%s", describe(kinds), notGiven(have))
	}
	return e
}

func notGiven(have []string) string {
	if len(have) == 0 {
		return ", and no key was given"
	}
	return "; what was given does not fit: " + list(have)
}

// describe says what kinds of keys open a file, in the words that a person
// looks for in a drawer.
func describe(kinds []string) string {
	words := map[string]string{
		stanzaX25519: "an age key (age1…)", stanzaHybrid: "a post-quantum age key (age1pq1…)",
		stanzaScrypt: "a passphrase", "ssh-rsa": "an SSH key", "ssh-ed25519": "an SSH key",
	}
	var said []string
	for _, kind := range kinds {
		word, ok := words[kind]
		if !ok {
			word = "a key of an unknown kind"
		}
		if !slices.Contains(said, word) {
			said = append(said, word)
		}
	}
	if len(said) == 0 {
		return "a key"
	}
	if len(kinds) > 1 {
		return fmt.Sprintf("%d keys: %s", len(kinds), strings.Join(said, ", "))
	}
	return said[0]
}
