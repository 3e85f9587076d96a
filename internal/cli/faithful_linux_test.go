package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"capstan/internal/capstantest"
)

// scratch is a directory that is removed whatever the test put into it.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "capstan-test-") //nolint:usetesting // TempDir cannot remove paths beyond PATH_MAX
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { capstantest.RemoveAll(t, dir) })
	return dir
}

// guideCommands gives the commands of a set's RESTORE.txt as one script.
func guideCommands(t *testing.T, set, target string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(set, "RESTORE.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for line := range strings.Lines(string(text)) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			script.WriteString(strings.Replace(command, "target=/restore", "target="+target, 1))
		}
	}
	return script.String()
}

// stockRestore follows a set's RESTORE.txt to the letter, with stock tools only.
func stockRestore(t *testing.T, set, target string) {
	t.Helper()
	script := guideCommands(t, set, target)
	if !strings.Contains(script, "sha256sum") || !strings.Contains(script, "tar ") {
		t.Fatalf("RESTORE.txt gives no commands:\n%s", script)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-e")
	cmd.Dir, cmd.Stdin = set, strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "FAILED") {
		t.Fatalf("RESTORE.txt failed: %v\n%s\nscript:\n%s", err, out, script)
	}
	for line := range strings.Lines(string(out)) {
		// GNU tar cannot make paths beyond PATH_MAX and marvels at odd times; it goes on.
		harmless := strings.Contains(line, "File name too long") || strings.Contains(line, "Exiting with failure") ||
			strings.Contains(line, "implausibly old time stamp") || strings.Contains(line, "in the future")
		if strings.HasPrefix(line, "tar: ") && !harmless {
			t.Errorf("tar complains: %.500s", line)
		}
	}
}

// beyondTar are the paths of the hostile tree that GNU tar cannot extract, and a
// hard link to one of them.
func beyondTar(path string) bool {
	return len(path) > 3500 || strings.HasSuffix(path, "/link to the end")
}

// latestSet is the directory of the only set on the volume.
func latestSet(t *testing.T, volume string) string {
	t.Helper()
	sets, err := filepath.Glob(filepath.Join(volume, "20*_*"))
	if err != nil || len(sets) == 0 {
		t.Fatalf("no set on %s: %v", volume, err)
	}
	return sets[len(sets)-1]
}

// TestHostileTree backs up what careless programs lose, and gets it back: by
// restore, and by stock tools that follow RESTORE.txt.
func TestHostileTree(t *testing.T) {
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
			f.run(append([]string{"backup", f.data, "--to", f.vol}, flags...)...)
			f.run("verify", "--read-data")
			back := filepath.Join(dir, "back")
			f.run("restore", "latest", "--to", back)
			capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
			stock := filepath.Join(dir, "stock")
			stockRestore(t, latestSet(t, f.vol), stock)
			capstantest.CompareTrees(t, f.data, filepath.Join(stock, "data"), capstantest.Skip(beyondTar))
			f.run("catalog", "check")
		})
	}
}

// TestRealTree does the same with some fifty thousand real files.
func TestRealTree(t *testing.T) {
	dir := scratch(t)
	f := &field{t: t, dir: dir, vol: filepath.Join(dir, "vol")}
	f.data = capstantest.RealTree(t, 50000)
	name := filepath.Base(f.data)
	summary := f.run("backup", f.data, "--to", f.vol, "--archive-size", "256MiB")
	match := regexp.MustCompile(`: ([\d,]+) entries`).FindStringSubmatch(summary)
	if match == nil || len(match[1]) < len("50,000") {
		t.Errorf("too small a tree: %s", summary)
	}
	back := filepath.Join(dir, "back")
	f.run("restore", "latest", "--to", back)
	capstantest.CompareTrees(t, f.data, filepath.Join(back, name))
	if out, err := f.command(t.Context(), "verify", "--read-data").CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	stock := filepath.Join(dir, "stock")
	stockRestore(t, latestSet(t, f.vol), stock)
	capstantest.CompareTrees(t, f.data, filepath.Join(stock, name))
}
