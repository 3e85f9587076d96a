package envelope

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"capstan"
)

func TestParseRecipients(t *testing.T) {
	t.Parallel()
	first, second := mustKey(t), mustKey(t)
	pq, err := NewPostQuantumKey()
	if err != nil {
		t.Fatal(err)
	}
	team := writeFile(t, "team.txt", []byte("# ann\n"+first.Recipient()+"\r\n\n   "+second.Recipient()+"   \n# no newline at the end"), 0o644)
	empty := writeFile(t, "empty.txt", []byte("# nobody\n"), 0o644)
	bad := writeFile(t, "bad.txt", []byte(first.Recipient()+"\nnonsense\n"), 0o644)
	private := writeFile(t, "key.txt", []byte(first.Secret()+"\n"), 0o600)
	var many strings.Builder
	for range maxRecipients + 1 {
		many.WriteString(mustKey(t).Recipient() + "\n")
	}
	crowd := writeFile(t, "crowd.txt", []byte(many.String()), 0o644)
	good := []struct {
		name  string
		specs []string
		want  []string
	}{
		{"one key", []string{first.Recipient()}, []string{first.Recipient()}},
		{"spaces", []string{" " + first.Recipient() + "\n"}, []string{first.Recipient()}},
		{"two keys, one twice", []string{second.Recipient(), first.Recipient(), second.Recipient()}, []string{second.Recipient(), first.Recipient()}},
		{"file", []string{team}, []string{first.Recipient(), second.Recipient()}},
		{"file and key", []string{second.Recipient(), team}, []string{second.Recipient(), first.Recipient()}},
		{"post-quantum", []string{pq.Recipient()}, []string{pq.Recipient()}},
	}
	for _, test := range good {
		r, err := ParseRecipients(test.specs, nil)
		if err != nil || !slices.Equal(r.Strings(), test.want) || r.Weak() != "" {
			t.Errorf("%s: %v, %v; want %v", test.name, r, err, test.want)
		}
	}
	refused := []struct {
		name       string
		specs      []string
		passphrase Passphrase
		want       string
	}{
		{"nobody", nil, nil, "no recipient is named"},
		{"key and passphrase", []string{first.Recipient()}, knows("correct horse"), "not both"},
		{"classic and post-quantum", []string{first.Recipient(), pq.Recipient()}, nil, "can't mix post-quantum and classic"},
		{"wrong letter", []string{strings.Replace(first.Recipient(), "age1", "age1q", 1)}, nil, "a letter is wrong"},
		{"secret key", []string{first.Secret()}, nil, "that is a secret key"},
		{"secret key in a file", []string{private}, nil, "line 1: that is a secret key"},
		{"secret key, mistyped", []string{"=" + first.Secret()}, nil, "that is a secret key"},
		{"SSH key", []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI ann@host"}, nil, "SSH keys are not taken"},
		{"RSA key", []string{"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAB"}, nil, "SSH keys are not taken"},
		{"plugin", []string{"age1yubikey1qgtt2h4q7a7vsqzm6aqfxc8dq4c0vmv3vhrf0ya6yqnw4fnlq6qxsmt6vx7"}, nil, "age plugin"},
		{"no file", []string{"/no/such/file"}, nil, "no such file"},
		{"directory", []string{t.TempDir()}, nil, "cannot be read"},
		{"empty file", []string{empty}, nil, "lists no public key"},
		{"bad line", []string{bad}, nil, "line 2: is no public key"},
		{"crowd", []string{crowd}, nil, "too many"},
		{"no passphrase", nil, knows(""), "empty"},
		{"two lines", nil, knows("correct\nhorse"), "more than one line"},
	}
	for _, test := range refused {
		_, err := ParseRecipients(test.specs, test.passphrase)
		wantClass(t, test.name, err, capstan.ErrUsage)
		if err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %q does not say %q", test.name, err, test.want)
		}
		wantNoSecret(t, fmt.Sprint(err), first)
	}
	broken := errors.New("no terminal")
	if _, err := ParseRecipients(nil, func() (string, error) { return "", broken }); !errors.Is(err, broken) {
		t.Errorf("a passphrase that cannot be read gave %v", err)
	}
}

// wantNoSecret fails when a text holds a part of a key.
func wantNoSecret(t testing.TB, text string, keys ...Key) {
	t.Helper()
	for _, key := range keys {
		letters := key.Secret()[strings.LastIndex(key.Secret(), "1")+1:]
		for at := 0; at+6 <= len(letters); at++ {
			if strings.Contains(strings.ToUpper(text), letters[at:at+6]) {
				t.Errorf("%q holds a part of the secret key", text)
				return
			}
		}
	}
}

func TestPassphraseRecipients(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		secret string
		weak   bool
	}{{"short", true}, {"twelve or so", false}} {
		r, err := ParseRecipients(nil, knows(test.secret))
		if err != nil || !slices.Equal(r.Strings(), []string{"passphrase"}) || (r.Weak() != "") != test.weak {
			t.Errorf("%q: %v, %v, weak %q", test.secret, r, err, r.Weak())
		}
		if text := fmt.Sprintf("%v %+v %s", r, r, r.Strings()); strings.Contains(text, test.secret) {
			t.Errorf("%q is printed: %s", test.secret, text)
		}
	}
}
