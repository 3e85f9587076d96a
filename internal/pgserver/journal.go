package pgserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pg"
)

// ChangeKind says what was changed for a stop.
type ChangeKind string

// What a stop changes.
const (
	ChangeRole         ChangeKind = "role"            // a role that may not log in
	ChangeArchive      ChangeKind = "archive_command" // emptied in postgresql.auto.conf
	ChangeSubscription ChangeKind = "subscription"    // disabled on another server
)

// Change is one setting that has to be put back. It is in the journal from before
// the change until after it was put back: it may not have been made yet.
type Change struct {
	Kind   ChangeKind `json:"kind"`
	Object string     `json:"object"` // the role's or subscription's name; archive_command
	Time   time.Time  `json:"time"`
	// URL is the subscriber's, without a password; of a role it is the one that Stop
	// was given, empty for a local connection.
	URL string `json:"url,omitempty"`
	// Line is the line of postgresql.auto.conf that set archive_command, without its
	// end; empty if there was none.
	Line string `json:"line,omitempty"`
}

// String names the change for people.
func (c Change) String() string {
	switch c.Kind {
	case ChangeRole:
		return "role " + c.Object + " may not log in"
	case ChangeSubscription:
		return "subscription " + c.Object + " is disabled on " + c.URL
	case ChangeArchive:
		return "archive_command is empty"
	}
	return string(c.Kind) + " " + c.Object
}

// same reports whether two changes are of one setting.
func (c Change) same(other Change) bool {
	return c.Kind == other.Kind && c.Object == other.Object && c.URL == other.URL
}

// journalVersion is that of the file's form.
const journalVersion = 1

// journalLimit bounds the file: it holds a handful of changes.
const journalLimit = 1 << 20

// Journal is the record of what was changed on one cluster and has to be put back.
// One process at a time has it open.
type Journal struct {
	fsys    disk.FS
	path    string
	lock    *flock.Flock
	content journalFile
}

type journalFile struct {
	Version  int      `json:"version"`
	SystemID string   `json:"system_id"`
	Data     string   `json:"data"`
	Changes  []Change `json:"changes"`
}

// journalPath is named by the system identifier, and by the directory as well:
// a copy of a cluster has the same identifier.
func journalPath(home string, cluster *pg.Cluster, systemID uint64) string {
	sum := sha256.Sum256([]byte(cluster.Dir))
	return filepath.Join(home, "pg", strconv.FormatUint(systemID, 10)+"-"+hex.EncodeToString(sum[:4])+".json")
}

// openJournal takes the cluster's journal for this process; ErrLocked if another
// has it.
func openJournal(ctx context.Context, env Env, cluster *pg.Cluster) (*Journal, error) {
	control, err := cluster.Control(ctx)
	if err != nil {
		return nil, err
	}
	path := journalPath(env.Home, cluster, control.SystemID)
	if err := env.FS.MkdirAll(filepath.Dir(path)); err != nil {
		return nil, err
	}
	j := &Journal{fsys: env.FS, path: path, lock: flock.New(path+".lock", flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))}
	locked, err := j.lock.TryLock()
	if err != nil {
		return nil, &capstan.Error{Op: "lock", Object: path + ".lock", Err: err}
	}
	if !locked {
		return nil, &capstan.Error{
			Class: capstan.ErrLocked, Op: "stop or start", Object: cluster.Dir, Err: errors.New("another capstan works on this cluster"),
			Safe: "nothing was touched", Next: "see: capstan pg stop-status -D " + cluster.Dir,
		}
	}
	content, found, err := readJournal(env.FS, path)
	if err != nil {
		return nil, errors.Join(err, j.lock.Unlock())
	}
	if !found {
		content = journalFile{Version: journalVersion, SystemID: strconv.FormatUint(control.SystemID, 10), Data: cluster.Dir}
	}
	j.content = content
	return j, nil
}

// Pending gives the changes of a cluster that were not put back yet, without taking
// its journal.
func Pending(ctx context.Context, env Env, cluster *pg.Cluster) ([]Change, error) {
	control, err := cluster.Control(ctx)
	if err != nil {
		return nil, err
	}
	content, _, err := readJournal(env.FS, journalPath(env.Home, cluster, control.SystemID))
	return content.Changes, err
}

func readJournal(fsys disk.FS, path string) (content journalFile, found bool, err error) {
	data, err := fsys.ReadFile(path, journalLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return journalFile{}, false, nil
	}
	if err == nil {
		content, err = parseJournal(data)
	}
	if err != nil {
		return journalFile{}, false, &capstan.Error{
			Op: "read the journal of changed settings", Object: path, Err: err, Safe: "it was not touched",
			Next: "it says what has to be put back by hand: role LOGIN, archive_command, subscriptions",
		}
	}
	return content, true, nil
}

func parseJournal(data []byte) (content journalFile, err error) {
	if err := json.Unmarshal(data, &content); err != nil {
		return journalFile{}, err
	}
	if content.Version != journalVersion {
		return journalFile{}, fmt.Errorf("version %d", content.Version)
	}
	return content, nil
}

// changes are those to be put back, oldest first.
func (j *Journal) changes() []Change { return j.content.Changes }

// record makes a change durable in the journal before it is made. One that is there
// already stays as it is: it holds what was before the first time.
func (j *Journal) record(c Change) error {
	for _, known := range j.content.Changes {
		if known.same(c) {
			return nil
		}
	}
	next := j.content
	next.Changes = append(append([]Change(nil), j.content.Changes...), c)
	return j.write(next)
}

// strike removes a change that was put back.
func (j *Journal) strike(c Change) error {
	next := j.content
	next.Changes = nil
	for _, known := range j.content.Changes {
		if !known.same(c) {
			next.Changes = append(next.Changes, known)
		}
	}
	return j.write(next)
}

func (j *Journal) write(content journalFile) error {
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	if err := j.fsys.Replace(j.path, append(data, '\n')); err != nil {
		return &capstan.Error{Op: "write the journal of changed settings", Object: j.path, Err: err}
	}
	j.content = content
	return nil
}

// close gives the journal to the next process.
func (j *Journal) close() error { return j.lock.Unlock() }
