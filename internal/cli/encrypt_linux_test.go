package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/internal/capstantest"
)

// newKey makes a key file with the stock program and gives its path and its public
// key.
func newKey(t *testing.T) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key.txt")
	if out, err := exec.CommandContext(t.Context(), "age-keygen", "-o", file).CombinedOutput(); err != nil {
		t.Fatalf("age-keygen: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "age-keygen", "-y", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(out))
}

// secretFile makes a file for its owner alone.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sealedGuide gives the commands of an encrypted set's guide, opened with age.
func sealedGuide(t *testing.T, set, key, target string) string {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), "age", "-d", "-i", key, filepath.Join(set, "RESTORE.txt.age")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for line := range strings.Lines(string(text)) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			command = strings.Replace(command, "target=/restore", "target="+target, 1)
			script.WriteString(strings.Replace(command, "key=/root/key.txt", "key="+key, 1))
		}
	}
	return script.String()
}

// stockUnseal follows the guide of an encrypted set to the letter.
func stockUnseal(t *testing.T, set, key, target string) {
	t.Helper()
	script := sealedGuide(t, set, key, target)
	cmd := exec.CommandContext(t.Context(), "sh", "-e")
	cmd.Dir, cmd.Stdin = set, strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("FAILED")) || bytes.Contains(out, []byte("problem with")) {
		t.Fatalf("the guide failed: %v\n%s\nscript:\n%s", err, out, script)
	}
}

// nothing fails the test if anything is at a path.
func nothing(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); err == nil {
		t.Errorf("%s was made", path)
	}
}

// TestEncrypted backs up what careless programs lose, encrypted, and gets it back:
// by restore, and by stock tools alone.
func TestEncrypted(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{
		"zstd":  nil,
		"gzip":  {"--compress", "gzip"},
		"none":  {"--compress", "none"},
		"split": {"--archive-size", "1MiB", "--memory", "16MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t)
			f := &field{t: t, dir: dir, data: filepath.Join(dir, "data"), vol: filepath.Join(dir, "vol")}
			capstantest.HostileTree(t, f.data)
			key, public := newKey(t)
			other, _ := newKey(t)
			f.run(append([]string{"backup", f.data, "--to", f.vol, "--encrypt-to", public}, flags...)...)
			set := latestSet(t, f.vol)
			sealed(t, set)

			back := filepath.Join(dir, "back")
			for _, args := range [][]string{nil, {"--identity", other}, {"--passphrase-file", secretFile(t, "correct horse battery staple")}} {
				f.exits(12, append([]string{"restore", "latest", "--to", back}, args...), "nothing was written", public)
				nothing(t, back)
			}
			f.run("restore", "latest", "--to", back, "--identity", key)
			capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
			stock := filepath.Join(dir, "stock")
			stockUnseal(t, set, key, stock)
			capstantest.CompareTrees(t, f.data, filepath.Join(stock, "data"), capstantest.Skip(beyondTar))

			if e := f.exits(0, []string{"verify", "--read-data"}, "no key for it was given"); !strings.Contains(e.out, "1 set is encrypted") {
				t.Errorf("verify without a key says: %s", e.out)
			}
			f.exits(12, []string{"verify", "--read-data", "--identity", other})
			if e := f.exits(0, []string{"verify", "--read-data", "--identity", other, "--identity", key}); strings.Contains(e.out, "encrypted") {
				t.Errorf("verify with the key says: %s", e.out)
			}
			f.run("catalog", "check")

			f.exits(12, []string{"--home", "fresh", "catalog", "rebuild", f.vol}, filepath.Base(set))
			f.run("--home", "fresh", "catalog", "rebuild", f.vol, "--identity", key)
			f.run("--home", "fresh", "restore", "latest", "--to", back+"2", "--identity", key)
			capstantest.CompareTrees(t, f.data, filepath.Join(back+"2", "data"))
		})
	}
}

// sealed checks that nothing but what must be read without a key is in the clear.
func sealed(t *testing.T, set string) {
	t.Helper()
	files, err := os.ReadDir(set)
	if err != nil {
		t.Fatal(err)
	}
	clear := []string{".capstan-owner.json", "RESTORE.txt", "SHA256SUMS", "SHA256SUMS.sig"}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(set, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if age := bytes.HasPrefix(content, []byte("age-encryption.org/v1\n")); age != strings.HasSuffix(file.Name(), ".age") || !age && !slices.Contains(clear, file.Name()) {
			t.Errorf("%s is in the clear", file.Name())
		}
		if bytes.Contains(content, []byte("data")) && slices.Contains(clear, file.Name()) {
			t.Errorf("%s names a source:\n%s", file.Name(), content)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS")
	cmd.Dir = set
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
}

// TestPlainPipe restores with the one line that people remember.
func TestPlainPipe(t *testing.T) {
	t.Parallel()
	f := newField(t)
	plant(t, f.data, 7, 60, 20<<10)
	key, public := newKey(t)
	f.run("backup", f.data, "--to", f.vol, "--encrypt-to", public)
	f.shell(f.dir, fmt.Sprintf("mkdir stock; age -d -i %s %s/backup_*_0001.tar.zst.age | zstd -d | tar -xpf - -C stock", key, latestSet(t, f.vol)))
	capstantest.CompareTrees(t, f.data, filepath.Join(f.dir, "stock", "data"))
}

// TestPassphrase: a set that a passphrase opens, from a file, the environment, or a
// job of the configuration.
func TestPassphrase(t *testing.T) {
	t.Parallel()
	f := newField(t)
	plant(t, f.data, 8, 30, 10<<10)
	right, wrong := secretFile(t, "correct horse battery staple"), secretFile(t, "incorrect horse")
	f.exits(2, []string{"backup", f.data, "--to", f.vol, "--encrypt-to", "passphrase"}, "--passphrase-file")
	f.exits(2, []string{"backup", f.data, "--to", f.vol, "--passphrase-file", right}, "--encrypt-to passphrase")
	_, public := newKey(t)
	f.exits(2, []string{"backup", f.data, "--to", f.vol, "--encrypt-to", "passphrase", "--encrypt-to", public, "--passphrase-file", right}, "not both")
	f.exits(2, []string{"backup", f.data, "--to", f.vol, "--encrypt-to", "age1nonsense"}, "no valid age key")
	nothing(t, f.vol)

	config := filepath.Join(f.dir, "capstan.yaml")
	write(t, config, fmt.Appendf(nil, "jobs:\n  j:\n    sources: [%s]\n    to: [%s]\n    encrypt_to: [passphrase]\n    passphrase: {file: %s}\n", f.data, f.vol, right))
	f.run("--config", config, "backup", "--job", "j")
	sealed(t, latestSet(t, f.vol))
	back := filepath.Join(f.dir, "back")
	f.exits(12, []string{"restore", "latest", "--to", back}, "with a passphrase, and none was given")
	f.exits(12, []string{"restore", "latest", "--to", back, "--passphrase-file", wrong}, "the passphrase is not the one")
	nothing(t, back)
	f.run("restore", "latest", "--to", back, "--passphrase-file", right)
	capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))

	cmd := f.command(t.Context(), "restore", "latest", "--to", back+"2")
	cmd.Env = append(cmd.Env, "CAPSTAN_PASSPHRASE=correct horse battery staple")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	capstantest.CompareTrees(t, f.data, filepath.Join(back+"2", "data"))
}

// TestSeveralRecipients: each of them opens the set alone; keys stand in a file.
func TestSeveralRecipients(t *testing.T) {
	t.Parallel()
	f := newField(t)
	plant(t, f.data, 9, 30, 10<<10)
	one, onePublic := newKey(t)
	two, twoPublic := newKey(t)
	three, threePublic := newKey(t)
	list := filepath.Join(f.dir, "office.keys")
	write(t, list, []byte("# the office\n"+onePublic+"\n"+twoPublic+"\n"))
	f.run("backup", f.data, "--to", f.vol, "--encrypt-to", list, "--encrypt-to", threePublic)
	for i, key := range []string{one, two, three} {
		back := filepath.Join(f.dir, fmt.Sprintf("back%d", i))
		f.run("restore", "latest", "--to", back, "--identity", key)
		capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
		stockUnseal(t, latestSet(t, f.vol), key, back+"-stock")
	}
}

// TestMixedChain builds sets on sets with other keys, and without any: restoring
// takes all keys of the chain, and writes nothing before it has them.
func TestMixedChain(t *testing.T) {
	t.Parallel()
	f := newField(t)
	one, onePublic := newKey(t)
	two, twoPublic := newKey(t)
	for i, to := range [][]string{{"--encrypt-to", onePublic}, {"--encrypt-to", twoPublic}, nil, {"--encrypt-to", onePublic}} {
		plant(t, filepath.Join(f.data, fmt.Sprint("part", i)), uint64(10+i), 10, 5<<10)
		f.run(append([]string{"backup", f.data, "--to", f.vol, "--incremental"}, to...)...)
	}
	back := filepath.Join(f.dir, "back")
	f.exits(12, []string{"restore", "latest", "--to", back}, "nothing was written")
	f.exits(12, []string{"restore", "latest", "--to", back, "--identity", one}, "nothing was written", twoPublic)
	f.exits(12, []string{"restore", "latest", "--to", back, "--identity", two}, "nothing was written", onePublic)
	nothing(t, back)
	keys := []string{"--identity", one, "--identity", two}
	f.run(append([]string{"restore", "latest", "--to", back}, keys...)...)
	capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
	f.run(append([]string{"verify", "--read-data"}, keys...)...)
	f.run(append([]string{"--home", "fresh", "catalog", "rebuild", f.vol}, keys...)...)
	f.run(append([]string{"--home", "fresh", "restore", "latest", "--to", back + "2"}, keys...)...)
	capstantest.CompareTrees(t, f.data, filepath.Join(back+"2", "data"))
	f.run("backup", f.data, "--to", f.vol) // a full one, to show that the first does not need any
	f.run("restore", "latest", "--to", back+"3")
	capstantest.CompareTrees(t, f.data, filepath.Join(back+"3", "data"))
}

// TestDamagedChunk: what does not decrypt costs the entries in it, and is never
// taken for a wrong key.
func TestDamagedChunk(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"zstd", "none"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			damageChunks(t, codec)
		})
	}
}

func damageChunks(t *testing.T, codec string) {
	f := newField(t)
	for i := range 60 {
		write(t, filepath.Join(f.data, fmt.Sprintf("file-%02d", i)), noise(uint64(60+i), 300_000))
	}
	key, public := newKey(t)
	f.run("backup", f.data, "--to", f.vol, "--archive-size", "8MiB", "--encrypt-to", public, "--compress", codec)
	set := f.onlySet()
	archive := set.Archives[1].Name
	inside := f.within(2)
	frame := 15 // files of a frame of 4 MiB, which falls as a whole if it is compressed
	if codec == "none" {
		frame = 2
	}
	for name, test := range map[string]struct {
		how      func([]byte) []byte
		min, max int
	}{
		"a chunk":       {flip(func(size int) int { return size * 2 / 5 }), 1, frame},
		"the last byte": {flip(func(size int) int { return size - 1 }), 0, frame},
		"the end":       {func(b []byte) []byte { return b[:len(b)/2] }, 5, len(inside)},
		"more behind":   {func(b []byte) []byte { return append(b, "trailer"...) }, 0, 0},
		"the header":    {flip(func(int) int { return 60 }), len(inside), len(inside)},
	} {
		undo := damage(t, filepath.Join(f.vol, set.Set, archive), test.how)
		f.exits(3, []string{"verify", "--read-data"}, archive)
		f.exits(3, []string{"verify", "--read-data", "--identity", key}, archive)
		back := filepath.Join(f.dir, "back")
		e := f.try("restore", "latest", "--to", back, "--identity", key, "--json")
		lost := summaryOf(t, e).Problems
		if n := len(lost); n < test.min || n > test.max || (e.code == 0) != (n == 0) || n > 0 && e.code != 3 {
			t.Errorf("%s: exit %d, %d lost of %d\n%s", name, e.code, n, len(inside), e.err)
		}
		capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"), capstantest.Skip(func(path string) bool {
			for _, problem := range lost {
				if problem.Object == "data/"+path && slices.Contains(inside, problem.Object) {
					return true
				}
			}
			return false
		}))
		capstantest.RemoveAll(t, back)
		undo()
	}
	f.run("verify", "--read-data", "--identity", key)
}

// TestDamagedHeader: a header that a passphrase does not open is damage, where it opens
// the other archives; so is that of the first archive.
func TestDamagedHeader(t *testing.T) {
	t.Parallel()
	f := newField(t)
	for i := range 20 {
		write(t, filepath.Join(f.data, fmt.Sprintf("file-%02d", i)), noise(uint64(160+i), 300_000))
	}
	word := secretFile(t, "correct horse battery staple")
	f.run("backup", f.data, "--to", f.vol, "--archive-size", "2MiB", "--encrypt-to", "passphrase", "--passphrase-file", word)
	set := f.onlySet()
	for number, c := range map[int]struct{ letters, says string }{
		1: {"AB", "does not open with the key that opens the rest"}, // a salt as good as any, but another
		2: {"BA", "does not open with the key that opens the rest"},
		3: {"!?", "the header is not what was written"}, // no letters of a salt
	} {
		undo := damage(t, filepath.Join(f.vol, set.Set, set.Archives[number-1].Name), func(b []byte) []byte {
			salt := b[bytes.Index(b, []byte("-> scrypt "))+len("-> scrypt "):]
			was := salt[0]
			if salt[0] = c.letters[0]; salt[0] == was {
				salt[0] = c.letters[1]
			}
			return b
		})
		back := filepath.Join(f.dir, fmt.Sprint("back", number))
		e := f.exits(3, []string{"restore", "latest", "--to", back, "--passphrase-file", word, "--json"}, c.says)
		if number == 3 { // each costs seconds
			f.exits(3, []string{"verify", "--read-data", "--passphrase-file", word}, append(f.within(number), set.Archives[number-1].Name)...)
		}
		if lost, inside := len(summaryOf(t, e).Problems), len(f.within(number)); lost != inside {
			t.Errorf("header of archive %d: %d entries are lost, %d are in it", number, lost, inside)
		}
		undo()
	}
	f.exits(12, []string{"cat", "latest", "data/file-00", "--passphrase-file", secretFile(t, "another one")}, "not the one")
}

// TestResumeEncrypted kills an encrypted backup: one with the same recipients goes
// on with it, any other says why not and begins a set of its own.
func TestResumeEncrypted(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	_, other := newKey(t)
	right, wrong := secretFile(t, "correct horse battery staple"), secretFile(t, "quite another passphrase")
	byKey, byWord := []string{"--encrypt-to", public}, []string{"--encrypt-to", "passphrase", "--passphrase-file", right}
	for name, c := range map[string]struct {
		first, then, open []string
		says              string
	}{
		"the same key":       {byKey, byKey, []string{"--identity", key}, ""},
		"another key":        {byKey, []string{"--encrypt-to", other, "--encrypt-to", public}, []string{"--identity", key}, "encrypted to " + public},
		"none":               {byKey, nil, nil, "this run is not encrypted"},
		"now encrypted":      {nil, byKey, []string{"--identity", key}, "was not encrypted"},
		"the same word":      {byWord, byWord, []string{"--passphrase-file", right}, ""},
		"another passphrase": {byWord, []string{"--encrypt-to", "passphrase", "--passphrase-file", wrong}, []string{"--passphrase-file", wrong}, "a passphrase of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t)
			f := &field{t: t, dir: dir, data: filepath.Join(dir, "data"), vol: filepath.Join(dir, "vol")}
			if err := os.Mkdir(f.data, 0o755); err != nil {
				t.Fatal(err)
			}
			f.shell(f.data, resumeStart)
			args := []string{"backup", f.data, "--to", f.vol, "--archive-size", "3MiB"} // a passphrase costs time for each
			f.killed(2, append(slices.Clone(args), c.first...)...)
			args = append(append(slices.Clone(args), c.then...), "--json")
			e := f.exits(0, args, c.says)
			if resumed := summaryOf(t, e).Resumed; resumed != (c.says == "") {
				t.Errorf("resumed: %t\n%s", resumed, e.err)
			}
			back := filepath.Join(dir, "back")
			f.run(append([]string{"restore", "latest", "--to", back}, c.open...)...)
			capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
			f.run(append([]string{"verify", "latest", "--read-data"}, c.open...)...)
		})
	}
}
