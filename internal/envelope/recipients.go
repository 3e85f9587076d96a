package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"

	"capstan"
)

const (
	maxRecipients  = 256     // of one file; the format ends at 1024
	maxListBytes   = 1 << 20 // of a file that lists recipients
	passphraseName = "passphrase"
)

// Recipients are those who will be able to read what is written: the holders of
// keys, or of one passphrase. It does not change and may be used from several
// goroutines.
type Recipients struct {
	all    []age.Recipient
	names  []string
	header int64 // bytes before the payload
	weak   bool
	secret *Identities // of a passphrase
}

// ParseRecipients reads what --encrypt-to was given: public keys ("age1…", or
// "age1pq1…" for post-quantum ones) and paths of files that list such keys, one a
// line, with # before comments. passphrase is nil or gives the passphrase to use
// instead: the format forbids both in one file, and classic beside post-quantum
// keys. Keys that are named twice count once. What cannot be used is
// capstan.ErrUsage.
func ParseRecipients(specs []string, passphrase Passphrase) (*Recipients, error) {
	switch {
	case passphrase != nil && len(specs) > 0:
		return nil, usage("encrypt", "", errors.New("to keys or with a passphrase, not both: the age format has no such files"),
			"to have both, protect a key with the passphrase and encrypt to that key")
	case passphrase != nil:
		secret, err := passphrase()
		if err != nil {
			return nil, err
		}
		return passphraseRecipient(secret, writeWorkFactor)
	}
	r := &Recipients{}
	for _, spec := range specs {
		if err := r.add(strings.TrimSpace(spec)); err != nil {
			return nil, err
		}
	}
	switch {
	case len(r.all) == 0:
		return nil, usage("encrypt", "", errors.New("no recipient is named"), "give a public key (age1…), or a file that lists some")
	case len(r.all) > maxRecipients:
		return nil, usage("encrypt", "", fmt.Errorf("%d recipients are too many, the most is %d", len(r.all), maxRecipients), "")
	}
	if err := r.measure(r.all); err != nil {
		return nil, usage("encrypt", "", err, "")
	}
	return r, nil
}

// add takes one value of --encrypt-to.
func (r *Recipients) add(spec string) error {
	recipient, err := parseRecipient(spec)
	switch {
	case errors.Is(err, errSecret):
		return usage("encrypt", "", err, "") // without the object: it must not be shown
	case err != nil:
		return usage("encrypt to", abbreviate(spec), err, "")
	case recipient != nil:
		r.include(recipient)
		return nil
	}
	text, err := readSmallFile(spec, maxListBytes, false)
	if err != nil {
		return usage("encrypt to", spec, fmt.Errorf("it is no public key (age1…), and as a file it cannot be read: %w", err), "")
	}
	number, found := 0, 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		recipient, err := parseRecipient(line)
		if recipient == nil && err == nil {
			err = errors.New("is no public key (age1…)")
		}
		if err != nil {
			return usage("encrypt to", fmt.Sprintf("%s, line %d", spec, number), err, "")
		}
		r.include(recipient)
		found++
	}
	if found == 0 {
		return usage("encrypt to", spec, errors.New("the file lists no public key"), "")
	}
	return nil
}

// publicKey is a recipient with a public text.
type publicKey interface {
	age.Recipient
	fmt.Stringer
}

func (r *Recipients) include(recipient publicKey) {
	if name := recipient.String(); !slices.Contains(r.names, name) {
		r.all, r.names = append(r.all, recipient), append(r.names, name)
	}
}

// errSecret reports a secret key where a public one belongs.
var errSecret = errors.New("that is a secret key; name its public key (age1…), which stands in the key's file")

// parseRecipient gives nil without an error for what does not look like any key.
// Its errors hold nothing of a text that could be secret.
func parseRecipient(text string) (publicKey, error) {
	lower := strings.ToLower(text)
	switch {
	case strings.Contains(lower, "age-secret-key-"), strings.Contains(lower, "age-plugin-"):
		return nil, errSecret
	case strings.HasPrefix(lower, "ssh-"), strings.HasPrefix(lower, "ecdsa-"), strings.HasPrefix(lower, "sk-"):
		return nil, errors.New("SSH keys are not taken: they are changed and thrown away sooner than backups are; make an age key")
	case strings.HasPrefix(text, "age1pq1"):
		key, err := age.ParseHybridRecipient(text)
		if err != nil {
			return nil, errors.New("is no valid post-quantum key: a letter is wrong or missing")
		}
		return key, nil
	case strings.HasPrefix(text, "age1") && strings.Count(text, "1") > 1:
		return nil, errors.New("is a key of an age plugin; only keys that age itself makes are taken, so that no plugin is needed to restore")
	case strings.HasPrefix(text, "age1"):
		key, err := age.ParseX25519Recipient(text)
		if err != nil {
			return nil, errors.New("is no valid age key: a letter is wrong or missing")
		}
		return key, nil
	}
	return nil, nil
}

// passphraseRecipient stands for everyone who knows a passphrase.
func passphraseRecipient(secret string, workFactor int) (*Recipients, error) {
	if strings.ContainsAny(secret, "\r\n") {
		return nil, usage("encrypt", "", errors.New("the passphrase has more than one line, and could not be typed"), "")
	}
	recipient, err := age.NewScryptRecipient(secret)
	if err != nil {
		return nil, usage("encrypt", "", err, "")
	}
	trial, err := age.NewScryptRecipient(secret)
	if err != nil {
		return nil, usage("encrypt", "", err, "")
	}
	recipient.SetWorkFactor(workFactor)
	trial.SetWorkFactor(trialWorkFactor)
	r := &Recipients{all: []age.Recipient{recipient}, names: []string{passphraseName}, weak: len(secret) < strongPassphrase}
	given := Passphrase(func() (string, error) { return secret, nil })
	r.secret = &Identities{passphrase: true, all: []age.Identity{&passphraseIdentity{given}}}
	if err := r.measure([]age.Recipient{trial}); err != nil {
		return nil, err
	}
	return r, nil
}

// measure encrypts nothing to see that it can be done, and how long a header is.
func (r *Recipients) measure(all []age.Recipient) error {
	var out bytes.Buffer
	if _, err := age.Encrypt(&out, all...); err != nil {
		return err
	}
	r.header = int64(out.Len())
	return nil
}

// Strings are the recipients as they may be shown and kept anywhere: the public
// keys in the order in which they were named, or the word "passphrase". A
// post-quantum key has about 2,000 letters. Of nil, none.
func (r *Recipients) Strings() []string {
	if r == nil {
		return nil
	}
	return slices.Clone(r.names)
}

// Secret opens what was encrypted with the passphrase; nil for keys, of which only
// the public half is known here.
func (r *Recipients) Secret() *Identities {
	if r == nil {
		return nil
	}
	return r.secret
}

// IsPassphrase reports whether Strings gave that a passphrase was used.
func IsPassphrase(recipients []string) bool {
	return slices.Equal(recipients, []string{passphraseName})
}

// String is for messages: keys are shortened.
func (r *Recipients) String() string { return list(r.names) }

// Describe is Recipients.String of what Strings gave.
func Describe(recipients []string) string { return list(recipients) }

// Weak says, for a person, what is weak about the choice; empty if nothing is.
func (r *Recipients) Weak() string {
	if !r.weak {
		return ""
	}
	return fmt.Sprintf("the passphrase is shorter than %d characters: whoever gets the backup can guess it with patience", strongPassphrase)
}

// Writer writes the header onto w and encrypts what is written to the result.
// Its Close writes the last chunk, without which the file counts as cut off; it
// does not close w. After a failure every further call returns the same error.
// One goroutine uses it. It holds some 200 KiB and needs no Close when w is
// given up.
func (r *Recipients) Writer(w io.Writer) (io.WriteCloser, error) {
	stream, err := age.Encrypt(w, r.all...)
	if err != nil {
		return nil, fmt.Errorf("begin encryption: %w", err)
	}
	return &writer{stream: stream}, nil
}

// writer makes Close repeatable.
type writer struct {
	stream io.WriteCloser
	closed bool
	err    error // of Close
}

func (w *writer) Write(p []byte) (int, error) { return w.stream.Write(p) }

func (w *writer) Close() error {
	if !w.closed {
		w.closed = true
		w.err = w.stream.Close()
	}
	return w.err
}

// abbreviate shortens a key to what people compare.
func abbreviate(key string) string {
	const ends = 12
	if len(key) <= 70 {
		return key
	}
	return key[:ends] + "…" + key[len(key)-ends:]
}

// list joins names for a message, and counts those that do not fit.
func list(names []string) string {
	const most = 3
	short := make([]string, 0, most)
	for _, name := range names[:min(len(names), most)] {
		short = append(short, abbreviate(name))
	}
	text := strings.Join(short, ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func usage(op, object string, why error, next string) error {
	return &capstan.Error{Class: capstan.ErrUsage, Op: op, Object: object, Err: why, Next: next}
}
