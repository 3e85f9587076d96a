package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/manifest"
)

// TestManifestIsTheCatalogs compares the manifests on the volume, whose entries were
// written beside the packing, with those that the catalog gives: of a full set and
// of incremental ones, with links, files in parts, holes, attributes, and through
// a stage.
func TestManifestIsTheCatalogs(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"direct": nil, "staged": {"--stage", "stage"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t)
			f := &field{t: t, dir: dir, data: filepath.Join(dir, "data"), vol: filepath.Join(dir, "vol")}
			if err := os.Mkdir(f.data, 0o755); err != nil {
				t.Fatal(err)
			}
			if flags != nil {
				flags = []string{flags[0], filepath.Join(dir, flags[1])}
			}
			f.shell(f.data, changesStart)
			f.shell(f.data, `truncate -s 3M holes; echo x | dd of=holes bs=1 seek=1M conv=notrunc 2>/dev/null; setfattr -n user.k -v v text; ln big big2; ln -s big soft; mkfifo pipe`)
			f.run(append([]string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB"}, flags...)...)
			for _, change := range changes[:3] {
				f.shell(f.data, change)
				f.run(append([]string{"backup", f.data, "--to", f.vol, "--incremental"}, flags...)...)
			}
			c, err := catalog.Open(t.Context(), filepath.Join(dir, "home", "catalog.db"), catalog.Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			for _, set := range f.sets() {
				f.manifestOf(c, capstan.SetID(set.Set))
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "home", "draft-*")); len(left) > 0 {
				t.Errorf("left in the home: %q", left)
			}
		})
	}
}

// manifestOf compares a set's manifest with what the catalog holds.
func (f *field) manifestOf(c *catalog.Catalog, id capstan.SetID) {
	f.t.Helper()
	set, err := c.Set(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	archives, err := c.Archives(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	var made bytes.Buffer
	if err := manifest.Write(&made, set, archives, c.Walk(f.t.Context(), id, "")); err != nil {
		f.t.Fatal(err)
	}
	there, err := os.ReadFile(filepath.Join(f.vol, string(id), manifest.Name))
	if err != nil {
		f.t.Fatal(err)
	}
	if set.Base == "" && bytes.Count(there, []byte("\x28\xb5\x2f\xfd")) < 3 {
		f.t.Errorf("the manifest of %s was not written beside the packing: it has no frames of its own for set, entries and end", id)
	}
	got, want := f.entryLines(there), f.entryLines(made.Bytes())
	if len(want) < 3 || !slices.Equal(got, want) {
		f.t.Errorf("the manifest of %s has %d entries, the catalog %d:\n%s\nwant\n%s", id, len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// entryLines unpacks a manifest with the stock program and gives the lines of its
// entries in the order of their text.
func (f *field) entryLines(packed []byte) []string {
	f.t.Helper()
	command := exec.CommandContext(f.t.Context(), "zstd", "-dc")
	command.Stdin = bytes.NewReader(packed)
	text, err := command.Output()
	if err != nil {
		f.t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return !strings.HasPrefix(line, `{"type":"entry"`) })
	slices.Sort(lines)
	return lines
}
