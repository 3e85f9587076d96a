package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"capstan"
	"capstan/internal/disk"
)

// Home is the directory of one Capstan's own state: the catalog, the signing
// key, the locks. It holds no backups.
type Home struct {
	// Dir is absolute.
	Dir string
}

// FindHome gives the home named by flag, else by $CAPSTAN_HOME, else the
// user's state directory: $XDG_STATE_HOME/capstan or ~/.local/state/capstan,
// on macOS and Windows "Capstan" in the directory that os.UserConfigDir names.
// It creates nothing.
func FindHome(flag string) (Home, error) {
	dir := flag
	if dir == "" {
		dir = os.Getenv("CAPSTAN_HOME")
	}
	if dir == "" {
		state, err := userState()
		if err != nil {
			return Home{}, &capstan.Error{
				Class: capstan.ErrUsage, Op: "find the home directory", Err: err,
				Next: "name one with --home DIR or $CAPSTAN_HOME",
			}
		}
		dir = state
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Home{}, fmt.Errorf("home %s: %w", dir, err)
	}
	return Home{Dir: abs}, nil
}

func userState() (string, error) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		dir, err := os.UserConfigDir()
		return filepath.Join(dir, "Capstan"), err
	}
	// The XDG base directory specification says to ignore a relative value.
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "capstan"), nil
	}
	dir, err := os.UserHomeDir()
	return filepath.Join(dir, ".local", "state", "capstan"), err
}

// Create makes the directory, for its owner only, if it is not there; it and those
// that were made above it outlast a loss of power.
func (h Home) Create() error {
	if err := (disk.FS{}).MkdirAll(h.Dir); err != nil {
		return &capstan.Error{
			Op: "create the home directory", Object: h.Dir, Err: err,
			Next: "name another with --home DIR or $CAPSTAN_HOME",
		}
	}
	return nil
}

// Catalog is the path of the SQLite catalog.
func (h Home) Catalog() string { return filepath.Join(h.Dir, "catalog.db") }

// Key is the path of the Ed25519 key that signs this home's sets.
func (h Home) Key() string { return filepath.Join(h.Dir, "signing-key.pem") }

// Stage is the default directory of the stage.
func (h Home) Stage() string { return filepath.Join(h.Dir, "stage") }

// Scratch is the directory that says where drills have made servers.
func (h Home) Scratch() string { return filepath.Join(h.Dir, "scratch") }

// Log is the directory of what is kept for whoever looks for a cause later.
func (h Home) Log() string { return filepath.Join(h.Dir, "log") }
