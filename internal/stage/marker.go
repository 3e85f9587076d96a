package stage

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"capstan"
)

const (
	markerName   = "capstan-stage.json"
	markerFormat = 1
	markerLimit  = 1 << 16 // bytes; longer is no marker of ours
)

// ErrGone reports that the directory which was opened as a stage is no longer at
// its path, or is another one now.
var ErrGone = errors.New("the stage is no longer there")

// marker is the content of capstan-stage.json.
type marker struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"`
	Catalog string    `json:"catalog"` // that the sets in it belong to; empty: of none
	Created time.Time `json:"created"`
}

func (s *Stage) marker() string { return filepath.Join(s.path, markerName) }

// readMarker gives fs.ErrNotExist when there is none.
func (s *Stage) readMarker() (marker, error) {
	data, err := s.disk.ReadFile(s.marker(), markerLimit)
	if err != nil {
		return marker{}, err
	}
	m, err := parseMarker(data)
	if err != nil {
		return marker{}, &capstan.Error{
			Class: capstan.ErrRefused, Op: "read", Object: s.marker(), Err: err,
			Safe: "nothing was touched",
			Next: "use a newer capstan if there is one, or name a new directory with --stage; what lies in final here is whole",
		}
	}
	return m, nil
}

func parseMarker(data []byte) (m marker, err error) {
	if err := json.Unmarshal(data, &m); err != nil {
		return marker{}, fmt.Errorf("%w: %w", capstan.ErrDamaged, err)
	}
	switch {
	case m.Format > markerFormat:
		return marker{}, fmt.Errorf("it has format %d, and this program knows %d", m.Format, markerFormat)
	case m.Format < 1 || m.ID == "":
		return marker{}, fmt.Errorf("%w: it holds no format number and id", capstan.ErrDamaged)
	}
	return m, nil
}

// adopt finds the stage's identity, or makes it at the first use.
func (s *Stage) adopt(o Options) error {
	m, err := s.readMarker()
	if errors.Is(err, fs.ErrNotExist) {
		if o.Known != "" {
			return s.notMounted(o.Known, errors.New("it has no "+markerName))
		}
		m, err = s.firstUse(o)
	}
	switch {
	case err != nil:
		return err
	case o.Known != "" && m.ID != o.Known:
		return s.notMounted(o.Known, fmt.Errorf("stage %s is there instead", m.ID))
	case o.Catalog != "" && m.Catalog != "" && m.Catalog != o.Catalog:
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "open stage", Object: s.path,
			Err:  fmt.Errorf("it belongs to catalog %s, which alone knows what its files are for", m.Catalog),
			Safe: "nothing was touched", Next: "name a directory of its own for this home with --stage",
		}
	}
	s.id = m.ID
	return nil
}

// firstUse makes the directory and the marker. When another process does so at
// the same moment, the one that was first is taken.
func (s *Stage) firstUse(o Options) (marker, error) {
	if err := s.disk.MkdirAll(s.path); err != nil {
		return marker{}, err
	}
	for _, area := range [...]string{tempArea, finalArea, ledgerArea} {
		entries, err := s.disk.ReadDir(s.area(area))
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
			continue
		}
		if m, again := s.readMarker(); !errors.Is(again, fs.ErrNotExist) {
			return m, again // another process has just made the stage
		}
		if err == nil {
			err = errors.New("it is not empty, and no " + markerName + " says that a stage made it")
		}
		return marker{}, &capstan.Error{
			Class: capstan.ErrRefused, Op: "make a stage in", Object: s.path, Err: fmt.Errorf("%s: %w", s.area(area), err),
			Safe: "nothing was touched", Next: "name a directory of its own with --stage",
		}
	}
	m := marker{Format: markerFormat, ID: rand.Text(), Catalog: o.Catalog, Created: time.Now().UTC().Truncate(time.Second)}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return marker{}, err
	}
	err = s.disk.WriteNew(s.marker(), append(data, '\n'))
	if errors.Is(err, fs.ErrExist) {
		return s.readMarker()
	}
	return m, err
}

// makeAreas makes what is missing of a stage that has its marker, and refuses
// one whose files could not be sealed by a rename.
func (s *Stage) makeAreas() error {
	for _, area := range [...]string{tempArea, finalArea, ledgerArea} {
		if err := s.makeDir(s.area(area)); err != nil {
			return err
		}
	}
	same, err := s.disk.SameFilesystem(s.area(tempArea), s.area(finalArea))
	if err != nil {
		return fmt.Errorf("stage %s: %w", s.path, err)
	}
	if !same {
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "open stage", Object: s.path,
			Err:  errors.New("temp and final are on different filesystems or mounts, so that sealing an archive would copy every byte of it"),
			Safe: "nothing was touched",
			Next: "unmount what is mounted on temp or final there, or name with --stage a directory that has both on one filesystem",
		}
	}
	lock, err := s.disk.Create(s.ledgerLock())
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return lock.Close()
}

// makeDir makes a directory of the stage where it is missing. Anything else
// under its name is refused: a link leads out of what the marker stands for.
func (s *Stage) makeDir(path string) error {
	info, err := s.disk.Lstat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "use stage", Object: s.path, Err: fmt.Errorf("%s is there and not a directory", path),
			Safe: "nothing was touched", Next: "move it away",
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := s.disk.Mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.disk.SyncDir(filepath.Dir(path))
}

// notMounted is the refusal to make a stage where a known one should be.
func (s *Stage) notMounted(id string, why error) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "open stage", Object: s.path,
		Err:  fmt.Errorf("stage %s is not here: %w; is its disk mounted? An unmounted disk must not fill the root filesystem", id, why),
		Safe: "nothing was written",
		Next: "mount it and try again; if it was wiped on purpose, name a new directory with --stage",
	}
}

// present makes sure that the path still leads to this stage. While the marker
// is the same file, unchanged, it is not read again.
func (s *Stage) present() error {
	info, err := s.disk.Lstat(s.marker())
	if err == nil {
		s.mu.Lock()
		seen := s.seen
		s.mu.Unlock()
		if seen != nil && os.SameFile(seen, info) && seen.ModTime().Equal(info.ModTime()) && seen.Size() == info.Size() {
			return nil
		}
	}
	var m marker
	if err == nil {
		m, err = s.readMarker()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.gone(errors.New("its " + markerName + " cannot be found"))
	case err != nil:
		return err
	case m.ID != s.id:
		return s.gone(fmt.Errorf("stage %s is there instead", m.ID))
	}
	s.mu.Lock()
	s.seen = info
	s.mu.Unlock()
	return nil
}

// gone tells that the stage is not there. why must not be fs.ErrNotExist, which
// would say that a file in it is not there.
func (s *Stage) gone(why error) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "use stage", Object: fmt.Sprintf("%s (%s)", s.path, s.id),
		Err:  fmt.Errorf("%w: %w; was it unmounted?", ErrGone, why),
		Safe: "nothing was written elsewhere; sealed archives are whole",
		Next: "mount it again and run the job again",
	}
}
