package config

import (
	"os"
	"path/filepath"
	"testing"

	"capstan"
)

func TestFindHomePrefersFlagThenEnvironment(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CAPSTAN_HOME", filepath.Join(dir, "env"))
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
	home, err := FindHome(filepath.Join(dir, "flag"))
	if err != nil || home.Dir != filepath.Join(dir, "flag") {
		t.Errorf("with a flag: %v, %v", home, err)
	}
	home, err = FindHome("")
	if err != nil || home.Dir != filepath.Join(dir, "env") {
		t.Errorf("with $CAPSTAN_HOME: %v, %v", home, err)
	}
	t.Setenv("CAPSTAN_HOME", "")
	home, err = FindHome("")
	if err != nil || !filepath.IsAbs(home.Dir) {
		t.Errorf("without both: %v, %v", home, err)
	}
}

func TestHomeIsPrivate(t *testing.T) {
	home := Home{Dir: filepath.Join(t.TempDir(), "a", "b")}
	if err := home.Create(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(home.Dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestCgroupLimitTakesTheTightest(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(mount, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mount, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("slice/memory.max", "536870912\n")
	write("slice/unit/memory.max", "max\n")
	write("member", "0::/slice/unit\n")
	limit, ok := cgroupLimit(mount, filepath.Join(mount, "member"))
	if !ok || limit != 512*capstan.MiB {
		t.Errorf("version 2: %v %v", limit, ok)
	}
	write("memory/box/memory.limit_in_bytes", "268435456")
	write("member", "4:cpu:/box\n7:memory,hugetlb:/box\n")
	limit, ok = cgroupLimit(mount, filepath.Join(mount, "member"))
	if !ok || limit != 256*capstan.MiB {
		t.Errorf("version 1: %v %v", limit, ok)
	}
	write("memory/box/memory.limit_in_bytes", "9223372036854771712")
	if limit, ok := cgroupLimit(mount, filepath.Join(mount, "member")); ok {
		t.Errorf("an unlimited group gave %v", limit)
	}
}
