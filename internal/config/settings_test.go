package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"capstan"
)

// alone gives an environment that says nothing, and a directory for homes.
func alone(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, v := range Environment() {
		t.Setenv(v.Name, "")
	}
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	return dir
}

func writeConfig(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagThenEnvironmentThenFileThenDefault(t *testing.T) {
	dir := alone(t)
	resolve := func(flags Flags) Settings {
		t.Helper()
		s, err := Resolve(flags)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	check := func(what string, s Settings, home, catalog, log string, memory capstan.Bytes) {
		t.Helper()
		if s.Home.Dir != home || s.Catalog != catalog || s.LogFile != log || s.Memory(0) != memory {
			t.Errorf("%s: home %s, catalog %s, log %s, memory %d", what, s.Home.Dir, s.Catalog, s.LogFile, s.Memory(0))
		}
	}
	state := filepath.Join(dir, "state", "capstan")
	check("default", resolve(Flags{}), state, filepath.Join(state, "catalog.db"), "", DefaultMemory())

	writeConfig(t, filepath.Join(dir, "config", "capstan", FileName), "home: /f/home\ncatalog: /f/c.db\nlog_file: /f/log\nmemory: 10MiB\n")
	s := resolve(Flags{})
	check("file", s, "/f/home", "/f/c.db", "/f/log", 10*capstan.MiB)
	if got := s.Memory(9 * capstan.MiB); got != 9*capstan.MiB {
		t.Errorf("the job's memory counts before the file's: got %d", got)
	}

	t.Setenv("CAPSTAN_HOME", "/e/home")
	t.Setenv("CAPSTAN_CATALOG", "/e/c.db")
	t.Setenv("CAPSTAN_LOG_FILE", "/e/log")
	t.Setenv("CAPSTAN_MEMORY", "11MiB")
	s = resolve(Flags{})
	check("environment", s, "/e/home", "/e/c.db", "/e/log", 11*capstan.MiB)
	if got := s.Memory(9 * capstan.MiB); got != 11*capstan.MiB {
		t.Errorf("the environment's memory counts before the job's: got %d", got)
	}

	s = resolve(Flags{Home: "/x/home", Catalog: "/x/c.db", LogFile: "/x/log", Memory: "12MiB"})
	check("flag", s, "/x/home", "/x/c.db", "/x/log", 12*capstan.MiB)

	for _, bad := range []string{"1MiB", "much"} {
		t.Setenv("CAPSTAN_MEMORY", bad)
		if _, err := Resolve(Flags{}); !errors.Is(err, capstan.ErrUsage) || !strings.Contains(err.Error(), "CAPSTAN_MEMORY "+bad) {
			t.Errorf("CAPSTAN_MEMORY=%s: %v", bad, err)
		}
		if _, err := Resolve(Flags{Memory: bad}); !errors.Is(err, capstan.ErrUsage) || !strings.Contains(err.Error(), "--memory "+bad) {
			t.Errorf("--memory %s: %v", bad, err)
		}
	}
}

func TestFileIsFoundInOrder(t *testing.T) {
	dir := alone(t)
	home := filepath.Join(dir, "home")
	find := func(flag, want string) {
		t.Helper()
		got, err := Find(flag, Home{Dir: home})
		if err != nil || got != want {
			t.Errorf("found %q, %v; want %q", got, err, want)
		}
	}
	if _, err := os.Stat("/etc/capstan/capstan.yaml"); err != nil {
		find("", "")
	}
	user := writeConfig(t, filepath.Join(dir, "config", "capstan", FileName), "")
	find("", user)
	inHome := writeConfig(t, filepath.Join(home, FileName), "")
	find("", inHome)
	env := writeConfig(t, filepath.Join(dir, "env.yaml"), "")
	t.Setenv("CAPSTAN_CONFIG", env)
	find("", env)
	flag := writeConfig(t, filepath.Join(dir, "flag.yaml"), "")
	find(flag, flag)

	for flag, want := range map[string]string{filepath.Join(dir, "none"): "--config", "": "$CAPSTAN_CONFIG"} {
		t.Setenv("CAPSTAN_CONFIG", filepath.Join(dir, "gone"))
		if _, err := Find(flag, Home{Dir: home}); !errors.Is(err, capstan.ErrUsage) || !strings.HasPrefix(err.Error(), want+" ") {
			t.Errorf("%q: %v", flag, err)
		}
	}
	if _, err := Resolve(Flags{Config: os.DevNull}); err != nil {
		t.Errorf("a file that says nothing: %v", err)
	}
}

func TestBrokenFileIsAnErrorForEveryCommand(t *testing.T) {
	dir := alone(t)
	path := writeConfig(t, filepath.Join(dir, "state", "capstan", FileName), "jbos: {}\n")
	if _, err := Resolve(Flags{}); !errors.Is(err, capstan.ErrUsage) || !strings.HasPrefix(err.Error(), path+":1:1: ") {
		t.Errorf("got %v", err)
	}
}

func TestPlacesOfOthersArePassedOver(t *testing.T) {
	dir := alone(t)
	blocked := writeConfig(t, filepath.Join(dir, "file"), "")
	user := writeConfig(t, filepath.Join(dir, "config", "capstan", FileName), "")
	if got, err := Find("", Home{Dir: blocked}); err != nil || got != user { // the home is a file: nothing lies in it
		t.Errorf("found %q, %v", got, err)
	}
	for err, want := range map[error]bool{fs.ErrPermission: true, fs.ErrNotExist: true, syscall.ENOTDIR: true, syscall.EIO: false, syscall.ELOOP: false} {
		if got := notForUs(&fs.PathError{Op: "open", Path: "x", Err: err}); got != want {
			t.Errorf("%v: passed over %v, want %v", err, got, want)
		}
	}
}
