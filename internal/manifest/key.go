package manifest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"

	"capstan"
	"capstan/internal/disk"
)

const (
	pemType   = "PRIVATE KEY"
	keyLimit  = 64 << 10 // bytes of a key file
	otherBits = 0o007    // of a mode: what everyone may do
)

// Key is the Ed25519 key with which a home signs its sets. It says who wrote a
// set; it encrypts nothing.
type Key struct{ private ed25519.PrivateKey }

// LoadOrCreateKey reads the home's key from a file (PEM, PKCS #8), and makes
// one, durable and for its owner alone, if there is none. The directory must be
// there. A file that holds another kind of key, or that everyone may read, is
// refused and stays as it is.
func LoadOrCreateKey(path string) (*Key, error) { return loadOrCreateKey(disk.FS{}, path) }

func loadOrCreateKey(files disk.FS, path string) (*Key, error) {
	key, err := loadKey(files, path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	text, err := (&Key{private}).encode()
	if err != nil {
		return nil, err
	}
	err = files.WriteNew(path, text)
	if errors.Is(err, fs.ErrExist) { // another process was first: its key is the home's
		return loadKey(files, path)
	}
	if err != nil {
		return nil, fmt.Errorf("make the signing key: %w", err)
	}
	return &Key{private}, nil
}

func loadKey(files disk.FS, path string) (*Key, error) {
	info, err := files.Stat(path)
	if err != nil {
		return nil, err
	}
	refuse := func(why error, next string) error {
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "use signing key", Object: path, Err: why,
			Safe: "the file was not changed", Next: next,
		}
	}
	if info.Mode().Perm()&otherBits != 0 && runtime.GOOS != "windows" {
		return nil, refuse(fmt.Errorf("everyone may use it (mode %04o)", info.Mode().Perm()), "chmod 600 "+filepath.Base(path))
	}
	text, err := files.ReadFile(path, keyLimit)
	if err != nil {
		return nil, err
	}
	const next = "put the right key back from a backup of the home; a new one would make every older set look foreign"
	key, err := parseKey(text)
	if err != nil {
		return nil, refuse(err, next)
	}
	return key, nil
}

// parseKey reads what encode gives.
func parseKey(text []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemType {
		return nil, errors.New("it holds no private key in PEM form")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("it holds a key that is not Ed25519")
	}
	return &Key{private}, nil
}

// encode gives the content of the key's file.
func (k *Key) encode() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

// Public is the half of the key that verifies.
func (k *Key) Public() PublicKey {
	public, _ := k.private.Public().(ed25519.PublicKey)
	return PublicKey(public)
}

// ID names the home that the key belongs to: 32 hexadecimal digits, a hash of
// the public key. It stands for the home on volumes, as owner of its sets.
func (k *Key) ID() string {
	sum := sha256.Sum256([]byte(k.Public()))
	return hex.EncodeToString(sum[:16])
}

// PublicKey verifies the sets that a home signed. It is comparable.
type PublicKey string

// publicPrefix is the DER form of an Ed25519 public key (RFC 8410) up to the 32
// bytes of the key itself.
const publicPrefix = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"

// String gives the key as one line of base64: what stands between the lines of
// a PEM file.
func (p PublicKey) String() string {
	return base64.StdEncoding.EncodeToString([]byte(publicPrefix + string(p)))
}

// ParsePublicKey reads what String gives.
func ParsePublicKey(s string) (PublicKey, error) {
	der, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(der) != len(publicPrefix)+ed25519.PublicKeySize || string(der[:len(publicPrefix)]) != publicPrefix {
		return "", errors.New("no Ed25519 public key")
	}
	key := PublicKey(der[len(publicPrefix):])
	if key.String() != s { // Go's decoder skips line ends
		return "", errors.New("no Ed25519 public key in one line")
	}
	return key, nil
}
