package dir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"capstan"
)

const (
	ownerName   = ".capstan-owner.json"
	ownerFormat = 1
	ownerLimit  = 1 << 16 // bytes
)

// owner is the content of a set's .capstan-owner.json.
type owner struct {
	Format  int           `json:"format"`
	Set     capstan.SetID `json:"set"`
	Owner   string        `json:"owner"` // id of the catalog
	Claimed time.Time     `json:"claimed"`
}

// ClaimSet makes the set's directory with the owner's name in it. The directory
// is made under another name and renamed, so it is never there without its
// owner, and a kill in between does not use up the set's name.
func (v *Volume) ClaimSet(ctx context.Context, set capstan.SetID, by string) error {
	if err := v.check(ctx, set); err != nil {
		return err
	}
	if by == "" {
		return errors.New("claim a set: no owner given")
	}
	got, err := v.readOwner(v.dir(set), set)
	switch {
	case err != nil:
		return err
	case got == "":
		home, _, _ := strings.Cut(by, capstan.ClaimMark)
		if err := v.register(home); err != nil {
			return err
		}
		if err := v.makeClaim(set, by); err != nil {
			return err
		}
	case got != by:
		return v.taken(set, "it belongs to catalog "+got)
	default:
		// A process that was killed may have left names that a power loss would undo.
		if err := errors.Join(v.disk.SyncDir(v.dir(set)), v.disk.SyncDir(v.path)); err != nil {
			return err
		}
	}
	v.mu.Lock()
	v.ours[set] = true
	v.mu.Unlock()
	return nil
}

// Claimant implements capstan.ClaimTeller.
func (v *Volume) Claimant(ctx context.Context, set capstan.SetID) (string, error) {
	if err := v.check(ctx, set); err != nil {
		return "", err
	}
	by, err := v.readOwner(v.dir(set), set)
	if err == nil && by == stranger {
		return "", v.taken(set, "whose it is cannot be read")
	}
	return by, err
}

func (v *Volume) taken(set capstan.SetID, why string) error {
	return fmt.Errorf("set %s on volume %s: %w: %s", set, v.path, capstan.ErrSetExists, why)
}

// stranger is what readOwner gives for a set without an owner that we know.
const stranger = "?"

// readOwner gives the owner that a set's directory names, stranger if it is
// there and names none, and "" if there is none at that path.
func (v *Volume) readOwner(dir string, set capstan.SetID) (string, error) {
	info, err := v.disk.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case !info.IsDir():
		return stranger, nil
	}
	data, err := v.disk.ReadFile(filepath.Join(dir, ownerName), ownerLimit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stranger, nil
	case err != nil:
		return "", err
	}
	return parseOwner(data, set), nil
}

// parseOwner gives stranger for an owner file that is damaged, newer, or of
// another set (a directory renamed by hand): not ours to write in.
func parseOwner(data []byte, set capstan.SetID) string {
	var o owner
	if err := json.Unmarshal(data, &o); err != nil || o.Format != ownerFormat || o.Set != set || o.Owner == "" {
		return stranger
	}
	return o.Owner
}

func (v *Volume) makeClaim(set capstan.SetID, by string) error {
	data, err := json.Marshal(owner{
		Format: ownerFormat, Set: set, Owner: by, Claimed: time.Now().UTC().Truncate(time.Second),
	})
	if err != nil {
		return err
	}
	temp := v.claimDir(set, by)
	if err := errors.Join(v.removeClaim(temp), v.disk.Mkdir(temp)); err != nil { // a kill may have left one
		return err
	}
	err = v.disk.Replace(filepath.Join(temp, ownerName), append(data, '\n'))
	if err == nil {
		err = v.disk.RenameNew(temp, v.dir(set))
	}
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = v.taken(set, "another has just made it")
		}
		return errors.Join(err, v.removeClaim(temp))
	}
	if err := v.disk.SyncDir(v.path); err != nil { // then nobody will call the set his
		return errors.Join(err, v.removeClaim(v.dir(set)))
	}
	return nil
}

// claimDir is where a set's directory is made and unmade. The owner is part of
// the name, so two catalogs never meet there.
func (v *Volume) claimDir(set capstan.SetID, by string) string {
	sum := sha256.Sum256([]byte(by))
	return filepath.Join(v.path, ".capstan-claim-"+string(set)+"-"+hex.EncodeToString(sum[:8]))
}

// removeClaim deletes a claim's directory with what a kill may have left in it.
// It is fine if there is none.
func (v *Volume) removeClaim(temp string) error {
	files, err := v.disk.ReadDir(temp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, file := range files { // nothing but owner files is ever made there
		err = errors.Join(err, v.disk.Remove(filepath.Join(temp, file.Name())))
	}
	if err != nil {
		return err
	}
	return v.disk.Remove(temp)
}

// own refuses a set that this catalog has not claimed. A set that is not there
// at all is fs.ErrNotExist.
func (v *Volume) own(set capstan.SetID) error {
	v.mu.Lock()
	ours := v.ours[set]
	v.mu.Unlock()
	if ours {
		return nil
	}
	got, err := v.readOwner(v.dir(set), set)
	switch {
	case err != nil:
		return err
	case got == "":
		return &fs.PathError{Op: "use set", Path: v.dir(set), Err: fs.ErrNotExist}
	case got != v.catalog:
		return v.foreign(set)
	}
	v.mu.Lock()
	v.ours[set] = true
	v.mu.Unlock()
	return nil
}

func (v *Volume) foreign(set capstan.SetID) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "change set", Object: v.dir(set),
		Err:  errors.New("it belongs to another catalog, or its " + ownerName + " cannot be read"),
		Safe: "nothing was touched",
	}
}

// ownHome refuses a set that another home claimed.
func (v *Volume) ownHome(set capstan.SetID) error {
	got, err := v.readOwner(v.dir(set), set)
	home, _, _ := strings.Cut(got, capstan.ClaimMark)
	switch {
	case err != nil:
		return err
	case got == "":
		return &fs.PathError{Op: "use set", Path: v.dir(set), Err: fs.ErrNotExist}
	case home != v.catalog:
		return v.foreign(set)
	}
	return nil
}
