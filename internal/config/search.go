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
// there; else the empty string. A file that is there and cannot be read is found;
// a place that cannot be looked at is passed over.
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
		switch _, err := os.Stat(place); {
		case err == nil:
			return place, nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.ENOTDIR):
			return "", fmt.Errorf("look for the configuration: %w", err)
		}
	}
	return "", nil
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
