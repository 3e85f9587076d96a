package pgslot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"capstan"
	"capstan/internal/pgdata"
)

// Step is how far a quarantine has come.
type Step string

// The steps of a quarantine.
const (
	StepPrepared Step = "prepared" // the new directory is ready; the slot still has the old one, or has the new one since a moment
	StepMoved    Step = "moved"    // the slot has the new directory; the old one is in the quarantine
	StepStarted  Step = "started"  // the server came up with the slot as it was; the spill files may be purged
	StepPurged   Step = "purged"   // the spill files are removed
)

// Record is what is written down of a quarantine, in a file beside it.
type Record struct {
	Format int       `json:"format"` // of this record: 1
	ID     string    `json:"id"`     // name of the directory in the quarantine
	Dir    string    `json:"pgdata"`
	System uint64    `json:"system_identifier"`
	Slot   string    `json:"slot"`
	Began  time.Time `json:"began"`
	Step   Step      `json:"step"`

	RestartLSN     pgdata.LSN `json:"restart_lsn"`
	ConfirmedFlush pgdata.LSN `json:"confirmed_flush_lsn"`
	// Old and New are the inode numbers of the slot's directory before and after: they
	// tell which is where, whatever else was written down.
	Old uint64 `json:"old_inode"`
	New uint64 `json:"new_inode"`

	root string // the quarantine directory that holds it
}

const recordFormat = 1

// Path is where the directory with the spill files is, or will be.
func (r *Record) Path() string { return filepath.Join(r.root, r.ID) }

func (r *Record) file() string { return r.Path() + ".json" }

// recordLimit is more than a record is ever long, in bytes.
const recordLimit = 64 << 10

// write makes the record durable; create says that there is none yet.
func (p *Place) write(r *Record, create bool) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if create {
		err = p.FS.WriteNew(r.file(), data)
	} else {
		err = p.FS.Replace(r.file(), data)
	}
	if err != nil {
		return err
	}
	return p.FS.SetOwner(r.file(), p.UID, p.GID, 0o600)
}

// Records are the quarantines in a directory that are of this cluster, oldest first;
// none if there is no such directory.
func (p *Place) Records(ctx context.Context, root string) ([]Record, error) {
	entries, err := p.FS.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, entry := range entries {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		id, ok := strings.CutSuffix(entry.Name(), ".json")
		if !ok || strings.HasPrefix(id, ".") {
			continue
		}
		r, err := p.record(root, id)
		if err != nil {
			return nil, err
		}
		if r.System == p.SystemID && r.Dir == p.Dir {
			records = append(records, r)
		}
	}
	slices.SortFunc(records, func(a, b Record) int { return a.Began.Compare(b.Began) })
	return records, nil
}

func (p *Place) record(root, id string) (Record, error) {
	path := filepath.Join(root, id+".json")
	failed := func(err error) (Record, error) {
		return Record{}, &capstan.Error{Class: capstan.ErrRefused, Op: "read the quarantine's record", Object: path, Err: err, Safe: "nothing was touched", Next: "look at it, and move it away if it is not Capstan's"}
	}
	data, err := p.FS.ReadFile(path, recordLimit)
	if err != nil {
		return failed(err)
	}
	r, err := parseRecord(data, id)
	if err != nil {
		return failed(err)
	}
	r.root = root
	return r, nil
}

// parseRecord reads what write wrote of the quarantine id.
func parseRecord(data []byte, id string) (Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, err
	}
	switch r.Step {
	case StepPrepared, StepMoved, StepStarted, StepPurged:
	default:
		return Record{}, fmt.Errorf("unknown step %q", r.Step)
	}
	if r.Format != recordFormat || r.ID != id || !pgdata.ValidSlotName(r.Slot) || r.Old == 0 || r.New == 0 {
		return Record{}, errors.New("it does not hold what a record holds")
	}
	return r, nil
}
