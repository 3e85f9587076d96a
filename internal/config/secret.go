package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"capstan"
)

// Secret says where a password, key or token is found; it does not hold it. It
// is read when it is used, so that a secret which was changed counts at once
// and a command that does not need it does not read it. However it is printed,
// it shows "***". The zero value is no secret.
type Secret struct{ file, env, credential string }

// secretMask is what a printed secret shows.
const secretMask = "***"

// maxSecret bounds how much of a file is read.
const maxSecret = 64 << 10

// FileSecret is a secret in a file, which must not be readable by everybody.
func FileSecret(path string) Secret { return Secret{file: path} }

// EnvSecret is a secret in a variable of the environment.
func EnvSecret(name string) Secret { return Secret{env: name} }

// CredentialSecret is a secret that systemd hands to its service: the file name
// in $CREDENTIALS_DIRECTORY (systemd.exec(5), LoadCredential=).
func CredentialSecret(name string) Secret { return Secret{credential: name} }

// IsZero reports whether nothing was said.
func (s Secret) IsZero() bool { return s == Secret{} }

// Where says where the secret is found, for messages; it does not look there.
func (s Secret) Where() string {
	switch {
	case s.file != "":
		return "file " + s.file
	case s.env != "":
		return "variable " + s.env
	case s.credential != "":
		return "credential " + s.credential
	}
	return "nowhere"
}

// Reveal reads the secret, without one newline at its end. The caller must not
// print what it gets. An empty secret is an error; a file that everybody may
// read or write is refused with capstan.ErrRefused.
func (s Secret) Reveal() (string, error) {
	text, err := s.read()
	if err == nil {
		text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
		if text == "" {
			err = errors.New("it is empty")
		}
	}
	if err != nil {
		failure := &capstan.Error{Op: "read the secret in", Object: s.Where(), Err: reason(err)}
		if errors.Is(err, errOpenToAll) {
			failure.Class, failure.Next = capstan.ErrRefused, "chmod 600 "+s.file
		}
		return "", failure
	}
	return text, nil
}

var errOpenToAll = errors.New("everybody may read or write it")

func (s Secret) read() (string, error) {
	switch {
	case s.file != "":
		return readSecret(s.file, 0o006)
	case s.env != "":
		text, ok := os.LookupEnv(s.env)
		if !ok {
			return "", errors.New("it is not set")
		}
		return text, nil
	case s.credential != "":
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", errors.New("$CREDENTIALS_DIRECTORY is not set: this is no service of systemd with LoadCredential=" + s.credential)
		}
		return readSecret(filepath.Join(dir, s.credential), 0) // systemd sees to who may read it
	}
	return "", errors.New("no secret was named")
}

// readSecret reads a small file that has none of the forbidden mode bits.
func readSecret(path string, forbidden fs.FileMode) (string, error) {
	// Looked at before it is opened: a fifo would wait for a writer.
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return "", err
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // it was only read
	if info, err = file.Stat(); err != nil {
		return "", err
	}
	if info.Mode()&forbidden != 0 && runtime.GOOS != "windows" { // Windows has no such bits
		return "", errOpenToAll
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err == nil && len(text) > maxSecret {
		err = fmt.Errorf("it is longer than %s", capstan.Bytes(maxSecret))
	}
	return string(text), err
}

// String gives "***".
func (s Secret) String() string { return secretMask }

// Format writes "***" for every verb.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, secretMask) }

// MarshalText gives "***"; so do JSON and all else that asks for it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(secretMask), nil }

// The keys of a secret; it has exactly one.
var secretKeys = [...]key[Secret]{
	{"file", func(v value, s *Secret) { s.file, _ = v.path() }},
	{"env", func(v value, s *Secret) {
		if text, ok := v.text(); ok && !variableName.MatchString(text) {
			v.wrong("a variable's name has letters, digits and '_' only")
		} else {
			s.env = text
		}
	}},
	{"credential", func(v value, s *Secret) {
		if text, ok := v.text(); ok && (filepath.Base(text) != text || strings.Contains(text, `\`) || text == "." || text == "..") {
			v.wrong("a credential's name is that of a file, without a directory")
		} else {
			s.credential = text
		}
	}},
}

// secret reads where a secret is.
func (v value) secret() Secret {
	var s Secret
	before := len(v.r.problems)
	found := fields(v, secretKeys[:], &s)
	if len(found) != 1 && len(v.r.problems) == before {
		v.wrong("say where the secret is: file, env or credential, one of them")
	}
	return s
}
