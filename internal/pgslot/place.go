package pgslot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pgdata"
)

// Place is the data directory whose slots are looked at.
type Place struct {
	FS       disk.FS
	Dir      string // PGDATA, absolute
	Major    int
	SystemID uint64
	Timeline uint32 // of the last checkpoint
	Segment  uint32 // size of a WAL segment in bytes
	// UID and GID are the owner of PGDATA, as whom the server runs.
	UID, GID int
	// Idle returns nil only if no server, and no child of one, works in the directory
	// at this moment. It is asked right before each change in pg_replslot. A nil Idle
	// makes every change fail.
	Idle func() error
}

// replslot is the directory that holds one directory for each slot.
func (p *Place) replslot() string { return filepath.Join(p.Dir, "pg_replslot") }

func (p *Place) slotDir(slot string) string { return filepath.Join(p.replslot(), slot) }

// stateFile is the name of the file within a slot's directory that says what it is.
const stateFile = "state"

// state reads a state file. The server replaces the file in one step, so that a
// read never meets half of one.
func (p *Place) state(path string) (pgdata.SlotState, []byte, error) {
	data, err := p.FS.ReadFile(path, pgdata.SlotStateLimit)
	if err != nil {
		return pgdata.SlotState{}, nil, err
	}
	s, err := pgdata.ParseSlotState(data)
	if err != nil {
		return pgdata.SlotState{}, data, fmt.Errorf("%s: %w", path, err)
	}
	if want, ok := pgdata.SlotFormatOf(p.Major); !ok || s.Format != want {
		return s, data, fmt.Errorf("%s: %w: it has version %d of %d bytes, and servers of version %d read version %d of %d",
			path, pgdata.ErrVersion, s.Format.Version, s.Format.Length, p.Major, want.Version, want.Length)
	}
	return s, data, nil
}

// Slots are the names of the directories in pg_replslot, sorted. What is no
// directory is left out.
func (p *Place) Slots() ([]string, error) {
	entries, err := p.FS.ReadDir(p.replslot())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// idle asks whether a change in pg_replslot is allowed at this moment.
func (p *Place) idle(op, object string) error {
	err := errors.New("whether a server runs is not known")
	if p.Idle != nil {
		err = p.Idle()
	}
	if err == nil {
		return nil
	}
	return refused(op, object, err, "stop the server first: capstan pg stop -D "+p.Dir)
}

// refused is a refusal for safety before anything was touched.
func refused(op, object string, why error, next string) error {
	return &capstan.Error{Class: capstan.ErrRefused, Op: op, Object: object, Err: why, Safe: "nothing was touched", Next: next}
}

// batch is how many names are taken from a directory at once.
const batch = 1024

// names hands the names in a directory to take, in batches and in no order. The
// slice is used again. What is added or removed meanwhile may be met or not.
func names(ctx context.Context, dir string, take func([]string) error) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was only read
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		found, err := file.Readdirnames(batch)
		if len(found) > 0 {
			if err := take(found); err != nil {
				return err
			}
		}
		if len(found) == 0 || err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}
