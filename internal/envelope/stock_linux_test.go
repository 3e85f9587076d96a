package envelope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// patience is how long a command may take before it counts as hung.
const patience = 90 * time.Second

// run executes a stock command that must succeed.
func run(t *testing.T, dir string, command ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v: %s", command, err, errs.String())
	}
	return out
}

// runTyping executes a command on a terminal, and answers each of its questions
// for a passphrase.
func runTyping(t *testing.T, dir, passphrase string, command ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var said bytes.Buffer
	answered := 0
	b := make([]byte, 1024)
	for {
		n, err := terminal.Read(b)
		said.Write(b[:n])
		if asked := strings.Count(said.String(), "passphrase"); asked > answered && strings.HasSuffix(strings.TrimSpace(said.String()), ":") {
			answered = asked
			if _, err := io.WriteString(terminal, passphrase+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		if errors.Is(err, syscall.EIO) || errors.Is(err, io.EOF) {
			break // how Linux says that the program has ended
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%q: %v: %s", command, err, said.String())
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The stock programs restore what we write, as RESTORE.txt says.
func TestStockAgeRestores(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, other := mustKey(t), mustKey(t)
	plain := content(3 << 20)
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "file"), plain, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), keyFile(t, key), 0o600); err != nil {
		t.Fatal(err)
	}
	archive := run(t, dir, "tar", "--zstd", "-cf", "-", "data")
	if err := os.WriteFile(filepath.Join(dir, "a.tar.zst.age"), seal(t, mustRecipients(t, other, key), archive), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "sh", "-c", "mkdir out && age -d -i key a.tar.zst.age | tar --zstd -xpf - -C out")
	if got := readFile(t, filepath.Join(dir, "out", "data", "file")); !bytes.Equal(got, plain) {
		t.Error("the restored file is another one")
	}
	// The same after a change of keys, and at sizes around the edges.
	for _, size := range sizes {
		sealed := seal(t, mustRecipients(t, other), plain[:min(size, len(plain))])
		var again bytes.Buffer
		if err := Rewrap(&again, bytes.NewReader(sealed), int64(len(sealed)), IdentitiesOf(other), mustRecipients(t, other, key)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "b.age"), again.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := run(t, dir, "age", "-d", "-i", "key", "b.age"); !bytes.Equal(got, plain[:min(size, len(plain))]) {
			t.Errorf("%d bytes came back as %d others", size, len(got))
		}
	}
}

// We read what the stock programs write, with their keys.
func TestReadsStockAge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run(t, dir, "age-keygen", "-o", "key")
	recipient := strings.TrimSpace(string(run(t, dir, "age-keygen", "-y", "key")))
	ids := mustLoad(t, nil, filepath.Join(dir, "key"))
	if names := ids.Strings(); len(names) != 1 || names[0] != recipient {
		t.Fatalf("the key of age-keygen is %v, not %s", names, recipient)
	}
	for _, size := range sizes {
		plain := content(size)
		if err := os.WriteFile(filepath.Join(dir, "plain"), plain, 0o600); err != nil {
			t.Fatal(err)
		}
		sealed := run(t, dir, "age", "-r", recipient, "plain")
		for how, read := range map[string]func(*Identities, []byte) ([]byte, error){"OpenAt": openedAt, "Reader": streamed} {
			if got, err := read(ids, sealed); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s of %d bytes: %d came, %v", how, size, len(got), err)
			}
		}
	}
}

// Passphrases, in both directions. age takes one from a terminal alone.
func TestStockAgePassphrase(t *testing.T) {
	t.Parallel()
	const passphrase = "correct horse battery"
	dir := t.TempDir()
	plain := content(2*chunkSize + 5)
	put := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("plain", plain)
	key := mustKey(t)
	put("key", keyFile(t, key))

	runTyping(t, dir, passphrase, "age", "-p", "-o", "key.age", "key")
	if err := os.Chmod(filepath.Join(dir, "key.age"), 0o600); err != nil { // age leaves it to the umask
		t.Fatal(err)
	}
	if ids := mustLoad(t, knows(passphrase), filepath.Join(dir, "key.age")); ids.Strings()[0] != key.Recipient() {
		t.Errorf("the key that age -p protected is %v", ids)
	}

	to, err := ParseRecipients(nil, knows(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	put("ours.age", seal(t, to, plain))
	runTyping(t, dir, passphrase, "age", "-d", "-o", "ours", "ours.age")
	if !bytes.Equal(readFile(t, filepath.Join(dir, "ours")), plain) {
		t.Error("age -d made another file of ours")
	}
	put("protected.age", protected(t, key, passphrase))
	put("a.age", seal(t, mustRecipients(t, key), plain))
	runTyping(t, dir, passphrase, "age", "-d", "-i", "protected.age", "-o", "a", "a.age")
	if !bytes.Equal(readFile(t, filepath.Join(dir, "a")), plain) {
		t.Error("age -d with our protected key made another file")
	}
}

// A key may come out of a pipe, as from a password manager's command.
func TestKeyFromPipe(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := to.Write(keyFile(t, key)); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if ids := mustLoad(t, nil, fmt.Sprintf("/dev/fd/%d", from.Fd())); ids.String() != key.Recipient() {
		t.Errorf("the key is %v", ids)
	}
}
