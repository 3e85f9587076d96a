package dir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"capstan"
)

const (
	markerName   = "capstan-volume.json"
	markerFormat = 1
	markerLimit  = 1 << 20 // bytes; longer is no marker of ours
)

// ErrGone reports that the directory which was opened as a volume is no longer
// at its path, or is another one now.
var ErrGone = errors.New("the volume is no longer there")

// marker is the content of capstan-volume.json.
type marker struct {
	Format   int              `json:"format"`
	ID       capstan.VolumeID `json:"id"`
	Created  time.Time        `json:"created"`
	Catalogs []string         `json:"catalogs"` // owner ids of the catalogs that use the volume
}

// readMarker gives fs.ErrNotExist when there is none, and an error that wraps
// capstan.ErrDamaged when there is one that cannot be understood.
func (v *Volume) readMarker() (marker, error) {
	path := filepath.Join(v.path, markerName)
	data, err := v.disk.ReadFile(path, markerLimit)
	if err != nil {
		return marker{}, err
	}
	return parseMarker(path, data)
}

// parseMarker reads what encode gives; path is for messages.
func parseMarker(path string, data []byte) (marker, error) {
	var m marker
	if err := json.Unmarshal(data, &m); err != nil {
		return marker{}, damagedMarker(path, err)
	}
	if m.Format > markerFormat {
		return marker{}, &capstan.Error{
			Class: capstan.ErrRefused, Op: "read", Object: path,
			Err:  fmt.Errorf("it has format %d, and this program knows %d", m.Format, markerFormat),
			Safe: "nothing was touched", Next: "use a newer capstan for this volume",
		}
	}
	id, err := uuid.Parse(string(m.ID))
	if err != nil || m.Format < 1 {
		return marker{}, damagedMarker(path, errors.New("it holds no format number and UUID"))
	}
	m.ID = capstan.VolumeID(id.String())
	return m, nil
}

func damagedMarker(path string, err error) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "read", Object: path,
		Err:  fmt.Errorf("%w: %w", capstan.ErrDamaged, err),
		Safe: "nothing was touched",
		Next: "put the marker back from a copy of the volume; or move it away, and the sets here are taken in again by `capstan catalog rebuild`",
	}
}

// adopt finds the volume's identity, or makes it at the first use.
func (v *Volume) adopt(o Options) error {
	m, err := v.readMarker()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m, err = v.firstUse(o)
	case err == nil && o.Known != "" && m.ID != o.Known:
		err = &capstan.Error{
			Class: capstan.ErrRefused, Op: "open volume", Object: v.path,
			Err:  fmt.Errorf("it is volume %s, not %s as the catalog has it", m.ID, o.Known),
			Safe: "nothing was touched",
			Next: "mount the right disk there, or name a directory of its own for the new one",
		}
	}
	if err != nil {
		return err
	}
	v.info.ID, v.info.Created = m.ID, m.Created
	return nil
}

// register names a catalog in the marker as one that uses the volume. Two
// catalogs that do so for the first time in the same moment may lose one of the
// names; it comes back with that catalog's next set.
func (v *Volume) register(catalog string) error {
	m, err := v.readMarker()
	if err != nil || slices.Contains(m.Catalogs, catalog) {
		return err
	}
	m.Catalogs = append(m.Catalogs, catalog)
	data, err := m.encode()
	if err != nil {
		return err
	}
	return v.disk.Replace(filepath.Join(v.path, markerName), data)
}

// firstUse makes the marker. When another process makes it at the same moment,
// the one that was first is taken.
func (v *Volume) firstUse(o Options) (marker, error) {
	if o.Known != "" {
		return marker{}, v.notMounted(o.Known, errors.New("it has no "+markerName))
	}
	if !o.Create {
		return marker{}, &capstan.Error{
			Class: capstan.ErrNotFound, Op: "open volume", Object: v.path,
			Err:  errors.New("it has no " + markerName),
			Next: "name a directory that capstan has backed up to",
		}
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return marker{}, err
	}
	m := marker{
		Format: markerFormat, ID: capstan.VolumeID(id.String()),
		Created: time.Now().UTC().Truncate(time.Second), Catalogs: []string{},
	}
	if o.Catalog != "" {
		m.Catalogs = append(m.Catalogs, o.Catalog)
	}
	data, err := m.encode()
	if err != nil {
		return marker{}, err
	}
	err = v.disk.WriteNew(filepath.Join(v.path, markerName), data)
	if errors.Is(err, fs.ErrExist) {
		return v.readMarker()
	}
	return m, err
}

func (m marker) encode() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	return append(data, '\n'), err
}

// notMounted is the refusal to use a directory that lost its volume.
func (v *Volume) notMounted(id capstan.VolumeID, why error) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "open volume", Object: v.path,
		Err:  fmt.Errorf("volume %s is not here: %w; is it mounted? An unmounted disk must not fill the root filesystem", id, why),
		Safe: "nothing was written",
		Next: "mount it and try again; if the volume was wiped on purpose, use a new directory for the new one",
	}
}

// present makes sure that the path still leads to this volume. It is asked
// before everything that depends on the answer: an empty mount point would
// otherwise look like a volume without sets. While the marker is the same file,
// unchanged, it is not read again: on a tape that would be a search for each
// archive.
func (v *Volume) present() error {
	info, err := v.disk.Lstat(filepath.Join(v.path, markerName))
	if err == nil {
		v.mu.Lock()
		seen := v.seen
		v.mu.Unlock()
		if seen != nil && os.SameFile(seen, info) && seen.ModTime().Equal(info.ModTime()) && seen.Size() == info.Size() {
			return nil
		}
	}
	var m marker
	if err == nil {
		m, err = v.readMarker()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return v.gone(errors.New("its " + markerName + " cannot be found"))
	case err != nil:
		return err
	case m.ID != v.info.ID:
		return v.gone(fmt.Errorf("volume %s is there instead", m.ID))
	}
	v.mu.Lock()
	v.seen = info
	v.mu.Unlock()
	return nil
}

func (v *Volume) gone(why error) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "use volume", Object: fmt.Sprintf("%s (%s)", v.path, v.info.ID),
		Err:  fmt.Errorf("%w: %w; was it unmounted?", ErrGone, why),
		Safe: "nothing was written elsewhere; what was finished before is on the volume",
		Next: "mount it again and run the job again",
	}
}
