package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWhereKeysAreFound(t *testing.T) {
	dir := alone(t)
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	check := func(what, passphrase string, files ...string) {
		t.Helper()
		if got := Passphrase("").Where(); got != passphrase {
			t.Errorf("%s: the passphrase is in %s, want %s", what, got, passphrase)
		}
		if got := IdentityFiles(nil); !slices.Equal(got, files) {
			t.Errorf("%s: keys are in %q, want %q", what, got, files)
		}
	}
	check("nothing", "nowhere")
	for _, name := range []string{"capstan-passphrase", "capstan-identity"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	check("credentials", "credential capstan-passphrase", filepath.Join(dir, "capstan-identity"))
	t.Setenv("CAPSTAN_PASSPHRASE", "word")
	t.Setenv("CAPSTAN_IDENTITY", "/k")
	check("environment", "variable CAPSTAN_PASSPHRASE", "/k")
	t.Setenv("CAPSTAN_PASSPHRASE_FILE", "/p")
	check("file of the environment", "file /p", "/k")
	if got := Passphrase("/flag").Where(); got != "file /flag" {
		t.Errorf("flag: %s", got)
	}
	if got := IdentityFiles([]string{"/a", "/b"}); !slices.Equal(got, []string{"/a", "/b"}) {
		t.Errorf("flags: %q", got)
	}
}
