package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"capstan"
)

// FileName is what a configuration file is called where it is looked for.
const FileName = "capstan.yaml"

// Find gives the path of the configuration file: the flag's, else that of
// $CAPSTAN_CONFIG, both of which must be there; else the first of Places that is
// there; else the empty string. Of the places, one that this user may not read is
// passed over: the machine's file may be for the administrator alone.
func Find(flag string, home Home) (string, error) {
	from, path := "--config", flag
	if path == "" {
		from, path = "$CAPSTAN_CONFIG", os.Getenv("CAPSTAN_CONFIG")
	}
	if path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", &capstan.Error{
				Class: capstan.ErrUsage, Op: from, Object: path, Err: reason(err),
				Next: "capstan init " + path + " writes one to start from",
			}
		}
		return path, nil
	}
	for _, place := range Places(home) {
		switch err := look(place); {
		case err == nil:
			return place, nil
		case !notForUs(err):
			return "", fmt.Errorf("look for the configuration: %w", err)
		}
	}
	return "", nil
}

// look finds out whether there is something to read.
func look(path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() { // Load says what is wrong with it
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return file.Close()
}

// notForUs reports whether a place has no file that this user may read.
func notForUs(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR)
}

// Places are where the configuration file is looked for, in this order: the
// home, the user's directory for configurations, the machine's.
func Places(home Home) []string {
	places := []string{filepath.Join(home.Dir, FileName)}
	own := "capstan"
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		own = "Capstan"
	}
	if dir, err := os.UserConfigDir(); err == nil {
		places = append(places, filepath.Join(dir, own, FileName))
	}
	if runtime.GOOS == "windows" {
		if dir := os.Getenv("ProgramData"); dir != "" {
			places = append(places, filepath.Join(dir, own, FileName))
		}
		return places
	}
	return append(places, filepath.Join("/etc/capstan", FileName))
}
