package manifest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"capstan"
)

// ErrUnknownKey reports a valid signature by a key that is not among those that
// the caller trusts: another home wrote the set.
var ErrUnknownKey = errors.New("signed by another key")

// Statement is what a home signs about a set on one volume. The sets of a home
// on a volume form a chain, so that one which was swapped, removed or put back
// in an older form is noticed at the next.
type Statement struct {
	Set          capstan.SetID
	Sums         capstan.Hash  // SHA-256 of SHA256SUMS
	Previous     capstan.SetID // the home's set before this one on the volume; empty: none
	PreviousSums capstan.Hash  // SHA-256 of its SHA256SUMS; zero: none
	Time         time.Time     // to the second
	Key          PublicKey
}

const (
	signatureTitle = "capstan set signature 1"
	none           = "-"
)

// statementFields name the lines of a signature file between title and signature.
func statementFields() [6]string {
	return [6]string{"set", "sums-sha256", "previous-set", "previous-sums-sha256", "time", "key"}
}

// text is what is signed, byte for byte.
func (s *Statement) text() string {
	previous, previousSums := none, none
	if s.Previous != "" {
		previous, previousSums = string(s.Previous), hex.EncodeToString(s.PreviousSums[:])
	}
	values := [...]string{
		string(s.Set), hex.EncodeToString(s.Sums[:]), previous, previousSums,
		s.Time.UTC().Format(time.RFC3339), s.Key.String(),
	}
	var b strings.Builder
	b.WriteString(signatureTitle + "\n")
	for i, name := range statementFields() {
		b.WriteString(name + ": " + values[i] + "\n")
	}
	return b.String()
}

// Sign gives the content of SHA256SUMS.sig. It sets the statement's Key.
func (k *Key) Sign(s Statement) ([]byte, error) {
	s.Key = k.Public()
	if _, err := capstan.ParseSetID(string(s.Set)); err != nil {
		return nil, err
	}
	if s.Sums.IsZero() || (s.Previous == "") != s.PreviousSums.IsZero() {
		return nil, fmt.Errorf("sign set %s: a sum is missing", s.Set)
	}
	text := s.text()
	if parsed, err := parseStatement(text); err != nil || parsed.text() != text {
		return nil, fmt.Errorf("sign set %s: it cannot be read back: %w", s.Set, err)
	}
	signature := base64.StdEncoding.EncodeToString(ed25519.Sign(k.private, []byte(text)))
	return []byte(text + "signature: " + signature + "\n"), nil
}

// VerifySignature reads SHA256SUMS.sig and proves it against the content of
// SHA256SUMS. capstan.ErrDamaged means that one of the two is not what was
// signed; ErrUnknownKey that all is well, but none of the trusted keys signed
// it, and the statement is given too. Without trusted keys the one in the file
// is believed, which proves integrity, not origin.
func VerifySignature(file, sums []byte, trusted ...PublicKey) (Statement, error) {
	text, signature, err := cutSignature(file)
	if err != nil {
		return Statement{}, damagedSignature(err)
	}
	s, err := parseStatement(text)
	if err != nil {
		return Statement{}, damagedSignature(err)
	}
	if !ed25519.Verify(ed25519.PublicKey(s.Key), []byte(text), signature) {
		return Statement{}, damagedSignature(errors.New("the signature does not match"))
	}
	if capstan.Hash(sha256.Sum256(sums)) != s.Sums {
		return Statement{}, damagedSignature(fmt.Errorf("it was made for another %s than the one here", SumsName))
	}
	if len(trusted) > 0 && !slices.Contains(trusted, s.Key) {
		return s, fmt.Errorf("%s of set %s: %w", SignatureName, s.Set, ErrUnknownKey)
	}
	return s, nil
}

func damagedSignature(err error) error {
	return fmt.Errorf("%s: %w: %w", SignatureName, capstan.ErrDamaged, err)
}

// cutSignature parts a file into the signed text and the signature.
func cutSignature(file []byte) (text string, signature []byte, err error) {
	const mark = "signature: "
	at := bytes.LastIndex(file, []byte("\n"+mark)) + 1
	if at == 0 || len(file) > 4096 {
		return "", nil, errors.New("it holds no signature")
	}
	last, whole := bytes.CutSuffix(file[at+len(mark):], []byte("\n"))
	signature, err = base64.StdEncoding.Strict().DecodeString(string(last))
	// Go's decoder skips line ends; there is one form only.
	canonical := base64.StdEncoding.EncodeToString(signature) == string(last)
	if err != nil || !whole || !canonical || len(signature) != ed25519.SignatureSize {
		return "", nil, errors.New("its last line is no signature")
	}
	return string(file[:at]), signature, nil
}

// parseStatement reads a signed text, and only the form that text gives.
func parseStatement(text string) (Statement, error) {
	lines := strings.Split(text, "\n")
	if lines[0] != signatureTitle {
		return Statement{}, fmt.Errorf("its first line is not %q", signatureTitle)
	}
	fields := statementFields()
	if len(lines) != len(fields)+2 {
		return Statement{}, errors.New("it has more or fewer lines than it should")
	}
	var value [len(fields)]string
	for i, name := range fields {
		var ok bool
		if value[i], ok = strings.CutPrefix(lines[i+1], name+": "); !ok {
			return Statement{}, fmt.Errorf("line %d is not %q", i+2, name)
		}
	}
	s := Statement{Set: capstan.SetID(value[0])}
	var errs [6]error
	_, errs[0] = capstan.ParseSetID(value[0])
	s.Sums, errs[1] = parseHash([]byte(value[1]))
	if value[2] != none {
		s.Previous = capstan.SetID(value[2])
		_, errs[2] = capstan.ParseSetID(value[2])
		s.PreviousSums, errs[3] = parseHash([]byte(value[3]))
	}
	s.Time, errs[4] = time.Parse(time.RFC3339, value[4])
	s.Key, errs[5] = ParsePublicKey(value[5])
	if err := errors.Join(errs[:]...); err != nil {
		return Statement{}, err
	}
	if s.text() != text {
		return Statement{}, errors.New("it is not in the canonical form")
	}
	return s, nil
}
