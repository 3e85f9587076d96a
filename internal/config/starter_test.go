package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// allKeys are the keys of all tables.
func allKeys() []string {
	return slices.Concat(names(fileKeys[:]), names(volumeKeys[:]), names(poolKeys[:]), names(jobKeys()), names(ownKeys[:]), names(postKeys[:]), names(secretKeys[:]), names(keepKeys[:]))
}

func TestStarterIsValid(t *testing.T) {
	t.Parallel()
	file := parseGood(t, string(Starter()))
	if len(file.Jobs)+len(file.Volumes) > 0 || file.Memory != 0 || file.Home != "" {
		t.Errorf("the starter says something: %+v", file)
	}
}

func TestStarterIsValidUncommented(t *testing.T) {
	t.Parallel()
	var whole strings.Builder
	for line := range strings.Lines(string(Starter())) {
		if line != "\n" && !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "##") {
			t.Errorf("a line that is neither explanation nor example: %q", line)
		}
		whole.WriteString(strings.TrimPrefix(line, "# "))
	}
	file := parseGood(t, whole.String())
	if len(file.Jobs) < 5 || len(file.Volumes) < 2 || len(file.Pools) == 0 || file.Memory == 0 || file.Home == "" {
		t.Errorf("the examples say %+v", file)
	}
	for _, word := range []string{"lvcreate", "zfs snapshot", "Win32_ShadowCopy"} {
		if !strings.Contains(strings.ReplaceAll(whole.String(), ", ", " "), word) {
			t.Errorf("no example with %s", word)
		}
	}
	for _, key := range allKeys() {
		if !strings.Contains(whole.String(), key+":") {
			t.Errorf("no example of the key %s", key)
		}
	}
}

func TestReferenceHasEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range allKeys() {
		if !strings.Contains(string(text), "| `"+key+"` |") {
			t.Errorf("docs/configuration.md has no row for the key %s", key)
		}
	}
	for _, variable := range Environment() {
		if !strings.Contains(string(text), "| `"+variable.Name+"` |") {
			t.Errorf("docs/configuration.md has no row for %s", variable.Name)
		}
	}
}
