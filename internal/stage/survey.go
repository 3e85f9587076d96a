package stage

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"capstan"
	"capstan/internal/disk"
)

// The default reserve is a hundredth of the filesystem within these bounds, but
// at most an eighth of a small one.
const (
	minReserve = 64 * capstan.MiB
	maxReserve = capstan.GiB
)

// Found is a file in the stage.
type Found struct {
	Set  capstan.SetID
	Name string
	Size int64
}

func (f Found) place() place { return place{f.Set, f.Name} }

// Usage is how full the stage is, of all processes together.
type Usage struct {
	Quota  capstan.Bytes // of the owner that asks
	Used   capstan.Bytes // Sealed, Held and Stray together
	Sealed capstan.Bytes // of files in final that nobody writes
	Held   capstan.Bytes // reserved or being written
	Stray  capstan.Bytes // of files that nobody holds and that are no archives in final: leftovers, foreign files
	// Free is what a reservation could get at once: within the quota and within the
	// filesystem's free space beyond the reserve.
	Free capstan.Bytes
}

// Usage adds up what lies in the stage and is reserved there.
func (s *Stage) Usage(ctx context.Context) (Usage, error) {
	var usage Usage
	err := s.transact(ctx, func(l *ledger) error {
		view, err := l.survey()
		if err == nil {
			usage = view.usage(s.quota)
		}
		return err
	})
	return usage, err
}

// survey is what the stage holds at one moment.
type survey struct {
	records []record // of all living owners
	temp    []Found  // files that lie in temp
	final   []Found  // files that lie in final
	foreign []string // what no stage made
	empty   []capstan.SetID
	space   disk.Space
	reserve capstan.Bytes

	sealed, held, stray capstan.Bytes // see Usage
	unwritten           capstan.Bytes // part of held that the files do not take yet
}

// survey looks at the directories. Each is listed once, temp before final: a
// file that is sealed meanwhile is seen, if need be twice.
func (l *ledger) survey() (*survey, error) {
	s := l.stage
	v := &survey{records: l.records(), reserve: s.reserve}
	var err error
	if v.space, err = s.disk.Space(s.path); err != nil {
		return nil, err
	}
	if v.temp, err = v.scan(s, tempArea); err != nil {
		return nil, err
	}
	if v.final, err = v.scan(s, finalArea); err != nil {
		return nil, err
	}
	v.count()
	return v, nil
}

// scan lists the files of an area and puts aside what is foreign there.
func (v *survey) scan(s *Stage, area string) (files []Found, err error) {
	sets, err := s.disk.ReadDir(s.area(area))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.gone(errors.New("its directory " + area + " cannot be found"))
	}
	if err != nil {
		return nil, err
	}
	for _, dir := range sets {
		set, err := capstan.ParseSetID(dir.Name())
		if err != nil || !dir.IsDir() {
			if err := v.alien(dir, s.area(area)); err != nil {
				return nil, err
			}
			continue
		}
		entries, err := s.disk.ReadDir(s.dir(area, set))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if len(entries) == 0 {
			v.empty = append(v.empty, set)
		}
		for _, entry := range entries {
			if !entry.Type().IsRegular() || !namePattern.MatchString(entry.Name()) {
				if err := v.alien(entry, s.dir(area, set)); err != nil {
					return nil, err
				}
				continue
			}
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // just sealed or removed
			}
			if err != nil {
				return nil, err
			}
			files = append(files, Found{set, entry.Name(), info.Size()})
		}
	}
	return files, nil
}

// alien notes what no stage made. A file counts, since it takes the stage's
// room; what lies below a foreign directory is not looked at.
func (v *survey) alien(entry fs.DirEntry, in string) error {
	v.foreign = append(v.foreign, filepath.Join(in, entry.Name()))
	if !entry.Type().IsRegular() {
		return nil
	}
	info, err := entry.Info()
	if err == nil {
		v.stray += capstan.Bytes(info.Size())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// count adds up. A file that a hold names is counted with the hold only, by the
// larger of the two.
func (v *survey) count() {
	sizes := map[place]capstan.Bytes{}
	for _, files := range [...][]Found{v.temp, v.final} {
		for _, file := range files {
			sizes[file.place()] = max(sizes[file.place()], capstan.Bytes(file.Size))
		}
	}
	named := map[place]bool{}
	for _, r := range v.records {
		for _, h := range r.Holds {
			size := h.Written
			if h.Name != "" {
				size, named[h.place()] = sizes[h.place()], true
			}
			v.held += max(h.Bytes, size)
			v.unwritten += max(h.Bytes-size, 0)
		}
	}
	for _, file := range v.temp {
		if !named[file.place()] {
			v.stray += capstan.Bytes(file.Size)
		}
	}
	for _, file := range v.final {
		if !named[file.place()] {
			v.sealed += capstan.Bytes(file.Size)
		}
	}
}

func (v *survey) used() capstan.Bytes { return v.sealed + v.held + v.stray }

// room is what may still be reserved of the filesystem.
func (v *survey) room() capstan.Bytes { return v.space.Free - v.reserve - v.unwritten }

func (v *survey) usage(quota capstan.Bytes) Usage {
	return Usage{
		Quota: quota, Used: v.used(), Sealed: v.sealed, Held: v.held, Stray: v.stray,
		Free: max(min(quota-v.used(), v.room()), 0),
	}
}

func chooseReserve(wanted, total capstan.Bytes) capstan.Bytes {
	switch {
	case wanted < 0:
		return 0
	case wanted > 0:
		return wanted
	}
	return min(max(total/100, minReserve), maxReserve, total/8)
}

// chooseQuota gives the default in relation to what would be free if the stage
// were empty: it is the same for one process and for the next that comes when
// the stage is full.
func chooseQuota(wanted capstan.Bytes, v *survey, reserve capstan.Bytes) capstan.Bytes {
	if wanted > 0 {
		return min(wanted, maxBytes/4)
	}
	room := v.space.Free + v.used() - v.unwritten
	return max(min(room/5*4, room-reserve, maxBytes/4), 0)
}
