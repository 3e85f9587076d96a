package manifest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"capstan"
	"capstan/internal/disk"
)

const sumsText = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  hello\n"

func testKey(t testing.TB) *Key {
	t.Helper()
	key, err := LoadOrCreateKey(filepath.Join(t.TempDir(), "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func testStatement() Statement {
	return Statement{
		Set: "2026-11_000002", Sums: sha256.Sum256([]byte(sumsText)),
		Previous: "2026-11_000001", PreviousSums: sha256.Sum256([]byte("previous")),
		Time: time.Date(2026, 11, 20, 7, 40, 0, 0, time.UTC),
	}
}

func TestSignature(t *testing.T) {
	t.Parallel()
	key, other := testKey(t), testKey(t)
	first := testStatement()
	first.Previous, first.PreviousSums = "", capstan.Hash{}
	local := testStatement()
	local.Time = local.Time.In(time.FixedZone("", 3600)).Add(time.Nanosecond)
	for _, want := range []Statement{testStatement(), first, local} {
		file, err := key.Sign(want)
		if err != nil {
			t.Fatal(err)
		}
		want.Key, want.Time = key.Public(), want.Time.UTC().Truncate(time.Second)
		for _, trusted := range [][]PublicKey{nil, {key.Public()}, {other.Public(), key.Public()}} {
			got, err := VerifySignature(file, []byte(sumsText), trusted...)
			if err != nil || got != want {
				t.Errorf("%+v, %v", got, err)
			}
		}
		got, err := VerifySignature(file, []byte(sumsText), other.Public())
		if !errors.Is(err, ErrUnknownKey) || errors.Is(err, capstan.ErrDamaged) || got != want {
			t.Errorf("a foreign key: %+v, %v", got, err)
		}
		if _, err := VerifySignature(file, []byte(sumsText+" ")); !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("other sums: %v", err)
		}
		for i := range file {
			broken := bytes.Clone(file)
			broken[i] ^= 1
			if _, err := VerifySignature(broken, []byte(sumsText)); !errors.Is(err, capstan.ErrDamaged) {
				t.Fatalf("byte %d of\n%s\nchanged: %v", i, file, err)
			}
			if _, err := VerifySignature(file[:i], []byte(sumsText)); !errors.Is(err, capstan.ErrDamaged) {
				t.Fatalf("cut at byte %d: %v", i, err)
			}
		}
		if _, err := VerifySignature(append(file, '\n'), []byte(sumsText)); !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("more at the end: %v", err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	key := testKey(t)
	for name, spoil := range map[string]func(s *Statement){
		"no set":           func(s *Statement) { s.Set = "" },
		"a set with lines": func(s *Statement) { s.Set = "2026-11_000001\nkey: x" },
		"no sums":          func(s *Statement) { s.Sums = capstan.Hash{} },
		"half a previous":  func(s *Statement) { s.PreviousSums = capstan.Hash{} },
		"odd previous":     func(s *Statement) { s.Previous = "x" },
		"far time":         func(s *Statement) { s.Time = time.Unix(1<<50, 0) },
	} {
		s := testStatement()
		spoil(&s)
		if file, err := key.Sign(s); err == nil {
			t.Errorf("%s: %s", name, file)
		}
	}
}

// docs/format-set.md tells how openssl checks a signature: these are its words.
func TestSignatureAgainstOpenSSL(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/format-set.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(document), "```sh\nd=$(mktemp -d)")
	script, _, closed := strings.Cut(after, "```")
	if !ok || !closed {
		t.Fatal("docs/format-set.md holds no script that checks a signature")
	}
	script = "d=$(mktemp -d)" + script + "\nrm -r \"$d\""
	dir := t.TempDir()
	file, err := testKey(t).Sign(testStatement())
	if err != nil {
		t.Fatal(err)
	}
	run := func(file []byte) (string, error) {
		write(t, filepath.Join(dir, SignatureName), string(file), 0o600, time.Now())
		write(t, filepath.Join(dir, SumsName), sumsText, 0o600, time.Now())
		command := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
		command.Dir = dir
		out, err := command.CombinedOutput()
		return string(out), err
	}
	if out, err := run(file); err != nil || !strings.Contains(out, "Signature Verified Successfully") || !strings.Contains(out, "SHA256SUMS: OK") {
		t.Errorf("%v\n%s\n%s", err, out, script)
	}
	if out, err := run(bytes.Replace(file, []byte("000002"), []byte("000003"), 1)); err == nil {
		t.Errorf("openssl takes a changed statement: %s", out)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key.pem")
	key, err := LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreateKey(path)
	if err != nil || again.Public() != key.Public() || again.ID() != key.ID() {
		t.Errorf("another key the second time: %v", err)
	}
	if len(key.ID()) != 32 || key.ID() == testKey(t).ID() {
		t.Errorf("id %q", key.ID())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	if public, err := ParsePublicKey(key.Public().String()); err != nil || public != key.Public() {
		t.Error(public, err)
	}
	for _, bad := range []string{"", "x", "AAAA", key.Public().String()[1:], key.Public().String() + "\n", key.Public().String() + "AAAA", "AA" + key.Public().String()[2:]} {
		if _, err := ParsePublicKey(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key.private.Public())
	if err != nil || string(der) != publicPrefix+string(key.Public()) {
		t.Errorf("the form of the public key is not RFC 8410's: %x, %v", der, err)
	}
}

func TestKeyTogether(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key.pem")
	var keys [16]PublicKey
	var group sync.WaitGroup
	for i := range keys {
		group.Go(func() {
			key, err := LoadOrCreateKey(path)
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = key.Public()
		})
	}
	group.Wait()
	for _, key := range keys {
		if key != keys[0] {
			t.Fatal("one home has two keys")
		}
	}
}

func TestKeyRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if _, err := LoadOrCreateKey(good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "openssl", "genpkey", "-algorithm", "X25519").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty": "", "cut": string(text[:60]), "another type": strings.ReplaceAll(string(text), "PRIVATE", "PUBLIC"),
		"not DER": string(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: []byte("x")})), "another kind": string(out),
	} {
		path := filepath.Join(dir, name)
		write(t, path, content, 0o600, time.Now())
		if _, err := LoadOrCreateKey(path); !errors.Is(err, capstan.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(path); string(after) != content || err != nil {
			t.Errorf("%s: changed", name)
		}
	}
	write(t, good, string(text), 0o604, time.Now())
	if _, err := LoadOrCreateKey(good); !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by everyone: %v", err)
	}
	write(t, good, string(text), 0o660, time.Now()) // a mounted volume of a container cluster
	if _, err := LoadOrCreateKey(good); err != nil {
		t.Errorf("readable by the group: %v", err)
	}
	if _, err := LoadOrCreateKey(filepath.Join(dir, "no", "key")); err == nil {
		t.Error("a key in a directory that is not there")
	}
}

// Every operation fails once: no half key, no claim of success, and the next
// start has a key.
func TestKeyUnderFaults(t *testing.T) {
	t.Parallel()
	for n := 0; ; n++ {
		path := filepath.Join(t.TempDir(), "key.pem")
		count := 0
		key, err := loadOrCreateKey(disk.FS{Faults: disk.FaultFunc(func(disk.Op, string, int) error {
			if count++; count == n+1 {
				return syscall.ENOSPC
			}
			return nil
		})}, path)
		if (err == nil) != (count <= n) || (err != nil) != (key == nil) {
			t.Fatalf("fault %d: %v", n, err)
		}
		if err != nil && !errors.Is(err, capstan.ErrNoSpace) {
			t.Errorf("fault %d: %v", n, err)
		}
		if _, err := LoadOrCreateKey(path); err != nil {
			t.Errorf("fault %d: the next start: %v", n, err)
		}
		if count <= n {
			return
		}
	}
}
