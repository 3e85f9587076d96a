package pgscratch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"capstan"
	"capstan/internal/machine"
	"capstan/internal/process"
)

// markerName is the file that says whose a directory is.
const markerName = "capstan-scratch.json"

// marker is what a later process needs to remove what this one has left.
type marker struct {
	Owner   machine.Place    `json:"owner"`
	Bin     string           `json:"bin"`
	Account *process.Account `json:"account,omitempty"`
}

// makeRoot makes the directory of a server: with a marker, and two for the server's
// user alone.
func makeRoot(env Env, parent, bin string, account *process.Account, notes notes) (root string, err error) {
	here, err := machine.Here()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(marker{Owner: here, Bin: bin, Account: account})
	if err != nil {
		return "", err
	}
	if root, err = os.MkdirTemp(parent, prefix); err != nil {
		return "", &capstan.Error{Op: "make a directory for a scratch server in", Object: parent, Err: err, Next: "name another with --scratch"}
	}
	if err := notes.note(env, root); err != nil { // the work can do without
		env.Warn("it is not noted that a server is made in %s: %v", root, err)
	}
	if err = os.WriteFile(filepath.Join(root, markerName), text, 0o600); err == nil {
		err = os.Chmod(root, 0o711) //nolint:gosec // the server's user has to get to what is below
	}
	for _, name := range [...]string{dataName, socketName} {
		path := filepath.Join(root, name)
		if err == nil {
			err = env.Disk.Mkdir(path)
		}
		if err == nil && account != nil {
			err = os.Chown(path, int(account.UID), int(account.GID))
		}
	}
	if err != nil {
		err = errors.Join(&capstan.Error{Op: "make a directory for a scratch server in", Object: parent, Err: err}, os.RemoveAll(root))
	}
	return root, err
}

// dead reports whether the process that made a directory is certainly gone.
func (m marker) dead() bool {
	here, err := machine.Here()
	if err != nil {
		return false
	}
	switch here.Relation(m.Owner) {
	case machine.Beside:
		return !m.Owner.Alive()
	case machine.Before:
		return true
	case machine.Foreign:
	}
	return false
}

func readMarker(root string) (m marker, err error) {
	text, err := os.ReadFile(filepath.Join(root, markerName))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(text, &m)
}

const (
	removePatience = time.Minute
	removeAgain    = 100 * time.Millisecond
)

// remove removes a server's directory; a process of the server that is just ending may
// still make files in it. The marker goes last, so that what is left is known as ours.
func remove(ctx context.Context, root string) error {
	if root == "" {
		return nil
	}
	if !strings.HasPrefix(filepath.Base(root), prefix) {
		return fmt.Errorf("%s is no directory of a scratch server", root)
	}
	ctx, cancel := context.WithTimeout(ctx, removePatience)
	defer cancel()
	tick := time.NewTicker(removeAgain)
	defer tick.Stop()
	for {
		err := errors.Join(os.RemoveAll(filepath.Join(root, dataName)), os.RemoveAll(filepath.Join(root, socketName)))
		if err == nil {
			err = os.RemoveAll(root)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return &capstan.Error{Op: "remove", Object: root, Err: err, Next: "remove it by hand"}
		case <-tick.C:
		}
	}
}
