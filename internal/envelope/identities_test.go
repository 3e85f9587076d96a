package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"capstan"
)

var testTime = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

func keyFile(t testing.TB, keys ...Key) []byte {
	t.Helper()
	var text bytes.Buffer
	for _, key := range keys {
		if err := key.WriteFile(&text, testTime); err != nil {
			t.Fatal(err)
		}
	}
	return text.Bytes()
}

// protected is a key file under a passphrase that takes no time to open.
func protected(t testing.TB, key Key, passphrase string) []byte {
	t.Helper()
	var text bytes.Buffer
	if err := key.protect(&text, passphrase, testTime, trialWorkFactor); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

func TestLoadIdentities(t *testing.T) {
	t.Parallel()
	first, second := mustKey(t), mustKey(t)
	pq, err := NewPostQuantumKey()
	if err != nil {
		t.Fatal(err)
	}
	var sheet bytes.Buffer
	if err := RecoverySheet(&sheet, second, SheetNote{For: "tests", Made: testTime}, SheetText); err != nil {
		t.Fatal(err)
	}
	binary := seal(t, cheapPassphrase(t, "correct horse"), keyFile(t, first, pq))
	for _, test := range []struct {
		name       string
		files      [][]byte
		passphrase Passphrase
		want       []string
	}{
		{"nothing", nil, nil, nil},
		{"age-keygen's form", [][]byte{keyFile(t, first)}, nil, []string{first.Recipient()}},
		{"several in one", [][]byte{keyFile(t, first, second, pq, first)}, nil, []string{first.Recipient(), second.Recipient(), pq.Recipient()}},
		{"several files", [][]byte{keyFile(t, second), keyFile(t, first)}, nil, []string{second.Recipient(), first.Recipient()}},
		{"small letters, Windows", [][]byte{[]byte("\r\n  " + strings.ToLower(first.Secret()) + "\r\n")}, nil, []string{first.Recipient()}},
		{"under a passphrase", [][]byte{protected(t, first, "correct horse")}, knows("correct horse"), []string{first.Recipient(), "passphrase"}},
		{"the same, binary", [][]byte{binary}, knows("correct horse"), []string{first.Recipient(), pq.Recipient(), "passphrase"}},
		{"a passphrase alone", nil, knows("correct horse"), []string{"passphrase"}},
		{"a typed sheet", [][]byte{sheet.Bytes()}, nil, []string{second.Recipient()}},
	} {
		var paths []string
		for _, text := range test.files {
			paths = append(paths, writeFile(t, "key.txt", text, 0o600))
		}
		ids, err := LoadIdentities(paths, test.passphrase)
		if err != nil || !slices.Equal(ids.Strings(), test.want) {
			t.Errorf("%s: %v, %v; want %v", test.name, ids, err, test.want)
		}
		wantNoSecret(t, fmt.Sprintf("%v %+v %#v", ids, ids.Strings(), ids.String()), first, second, pq)
	}
}

func TestLoadIdentitiesRefuses(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	good := keyFile(t, key)
	typo := bytes.Replace(good, []byte("AGE-SECRET-KEY-1"), []byte("AGE-SECRET-KEY-1Q"), 1)
	under := protected(t, key, "correct horse")
	torn := slices.Concat(under[:200], []byte("A"), under[201:])
	for _, test := range []struct {
		name       string
		text       []byte
		mode       os.FileMode
		passphrase Passphrase
		class      error
		want       string
	}{
		{"open to all", good, 0o604, nil, capstan.ErrRefused, "everybody may read or write it (mode 0604)"},
		{"writable for all", good, 0o602, nil, capstan.ErrRefused, "everybody"},
		{"empty", nil, 0o600, nil, capstan.ErrUsage, "no secret key"},
		{"typing error", typo, 0o600, nil, capstan.ErrUsage, "line 3: that is no valid secret key"},
		{"public key", []byte(key.Recipient()), 0o600, nil, capstan.ErrUsage, "line 1: that is a public key"},
		{"SSH key", []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n"), 0o600, nil, capstan.ErrUsage, "SSH keys are not taken"},
		{"plugin", []byte("AGE-PLUGIN-YUBIKEY-1QQPQZRF"), 0o600, nil, capstan.ErrUsage, "plugin"},
		{"anything", []byte("hello\n"), 0o600, nil, capstan.ErrUsage, "line 1: that is no secret key"},
		{"huge", bytes.Repeat([]byte("#\n"), maxKeyFileBytes), 0o600, nil, capstan.ErrUsage, "longer than"},
		{"passphrase wanted", under, 0o600, nil, capstan.ErrUsage, "--passphrase-file"},
		{"wrong passphrase", under, 0o600, knows("wrong horse"), capstan.ErrWrongKey, "not the one"},
		{"torn", torn, 0o600, knows("correct horse"), capstan.ErrUsage, "damaged"},
		{"encrypted to a key", seal(t, mustRecipients(t, key), good), 0o600, knows("correct horse"), capstan.ErrUsage, "not a key under a passphrase"},
		{"nonsense under a passphrase", seal(t, cheapPassphrase(t, "correct horse"), []byte("hello")), 0o600, knows("correct horse"), capstan.ErrUsage, "line 1"},
	} {
		path := writeFile(t, "key.txt", test.text, test.mode)
		_, err := LoadIdentities([]string{path}, test.passphrase)
		wantClass(t, test.name, err, test.class)
		if err != nil && (!strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %q does not say %q", test.name, err, test.want)
		}
		wantNoSecret(t, fmt.Sprint(err), key)
	}
	_, err := LoadIdentities([]string{filepath.Join(t.TempDir(), "none")}, nil)
	if !errors.Is(err, os.ErrNotExist) || !errors.Is(err, capstan.ErrUsage) {
		t.Errorf("a missing file gave %v", err)
	}
}

func TestKeyKeepsItsSecret(t *testing.T) {
	t.Parallel()
	classic := mustKey(t)
	pq, err := NewPostQuantumKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []Key{classic, pq} {
		wantNoSecret(t, fmt.Sprintf("%v %+v %s %q %#v %v %+v", key, key, key, key, key, &key, []Key{key}), key)
		again, err := ParseKey(" " + strings.ToLower(key.Secret()) + "\n")
		if err != nil || again.Secret() != key.Secret() || again.Recipient() != key.Recipient() {
			t.Errorf("a key became %v, %v", again, err)
		}
	}
}

// Protect takes the work factor that its comment promises; protected, in other
// tests, is the rest of it.
func TestProtect(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	var text bytes.Buffer
	if err := key.Protect(&text, "correct horse", testTime); err != nil {
		t.Fatal(err)
	}
	header, err := age.ExtractHeader(armor.NewReader(&text))
	if err != nil || !bytes.Contains(header, []byte(" 17\n")) {
		t.Errorf("%v: %q", err, header)
	}
	if err := key.Protect(&text, "", testTime); !errors.Is(err, capstan.ErrUsage) {
		t.Errorf("no passphrase: %v", err)
	}
}
