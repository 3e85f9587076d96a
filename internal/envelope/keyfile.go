package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"capstan"
)

const (
	maxKeyFileBytes = 1 << 20
	magic           = "age-encryption.org/"
	magicLine       = magic + "v1\n" // the first line of every encrypted file
)

// LoadKeys reads the secret keys of one file, of any form that LoadIdentities takes,
// with the same errors.
func LoadKeys(path string, passphrase Passphrase) ([]Key, error) {
	return loadKeys(path, passphrase.once())
}

// loadKeys reads the secret keys of one file.
func loadKeys(path string, passphrase Passphrase) ([]Key, error) {
	text, err := readSmallFile(path, maxKeyFileBytes, true)
	if err != nil {
		return nil, secretFileError("use key file", path, err)
	}
	trimmed := bytes.TrimSpace(text)
	switch {
	case bytes.HasPrefix(text, []byte(magic)):
		text, err = openKeyFile(bytes.NewReader(text), path, passphrase)
	case bytes.HasPrefix(trimmed, []byte(armor.Header)):
		text, err = openKeyFile(armor.NewReader(bytes.NewReader(trimmed)), path, passphrase)
	}
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, usage("use key file", path, err, "")
	}
	return keys, nil
}

// openKeyFile decrypts a key file that is under a passphrase.
func openKeyFile(r io.Reader, path string, passphrase Passphrase) ([]byte, error) {
	if passphrase == nil {
		return nil, usage("use key file", path, errors.New("it is under a passphrase, and none was given"), "give it with --passphrase-file")
	}
	stream, err := age.Decrypt(r, &passphraseIdentity{passphrase})
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(stream, maxKeyFileBytes))
	}
	if err == nil {
		return text, nil
	}
	fail := &capstan.Error{Class: capstan.ErrUsage, Op: "use key file", Object: path}
	if none, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		if len(none.StanzaTypes) == 1 && none.StanzaTypes[0] == stanzaScrypt {
			fail.Class, fail.Err = capstan.ErrWrongKey, errors.New("the passphrase is not the one that it is under")
			return nil, fail
		}
		fail.Err = errors.New("it is an encrypted file, but not a key under a passphrase")
		return nil, fail
	}
	if told, ok := errors.AsType[*capstan.Error](err); ok {
		return nil, told
	}
	fail.Err = errors.New("it is damaged")
	return nil, fail
}

// parseKeys reads lines as age-keygen writes them, or a typed-in sheet. Its
// errors hold nothing of the text.
func parseKeys(text []byte) ([]Key, error) {
	if isSheet(text) {
		key, err := ReadSheet(bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		return []Key{key}, nil
	}
	var keys []Key
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := ParseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no secret key")
	}
	return keys, nil
}
