package pipeline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"capstan"
	"capstan/internal/archive"
	"capstan/internal/catalog"
	"capstan/internal/envelope"
)

// copyCheck is one copy under verification.
type copyCheck struct {
	capstan.Copy
	archive capstan.Archive
	next    catalog.Rewrap // what a rotation that is not finished makes of it
	read    bool           // every byte of the file was read and its hash compared
	damaged atomic.Int64   // entries that do not match
	shut    error          // why it cannot be opened
	state   capstan.CopyState
	problem error
}

// open gives the reader of the archive. One that cannot be opened is not tried again:
// that may take a search through all of it.
func (c *copyCheck) open(ctx context.Context, reader *setReader) (*openArchive, error) {
	if c.shut != nil {
		return nil, c.shut
	}
	a, err := reader.archive(ctx, c.Number)
	c.shut = err
	return a, err
}

func (c *copyCheck) fail(state capstan.CopyState, problem error) {
	c.state, c.problem = state, problem
}

// file checks that the archive is there in its full length and, for the chosen
// share, that its bytes are those that were written.
func (v *verifyRun) file(ctx context.Context, volume capstan.Volume, c *copyCheck) error {
	v.summary.Copies++
	v.Tracker.Stage(stageVerify).Object(c.archive.Name)
	// What does not fit is looked at once more: its recipients may have been rotated
	// since the catalog was asked.
	for again := true; ; again = false {
		if err := v.compare(ctx, volume, c); err != nil || c.state == "" || !again {
			return err
		}
		if renewed, err := v.renew(ctx, c); err != nil || !renewed {
			return err
		}
		c.state, c.problem, c.read = "", nil, false
	}
}

// renew asks the catalog again what a copy should be; false if that has not changed.
func (v *verifyRun) renew(ctx context.Context, c *copyCheck) (bool, error) {
	info, err := v.Catalog.Archive(ctx, c.Set, c.Number)
	if err != nil {
		return false, err
	}
	rotation, err := v.Catalog.Rotation(ctx, c.Set)
	if err != nil {
		return false, err
	}
	next, _ := rotation.Find(c.Volume, info.Name)
	if info == c.archive && next.Hash == c.next.Hash {
		return false, nil
	}
	c.archive, c.next = info, next
	return true, nil
}

// compare is what file does, once.
func (v *verifyRun) compare(ctx context.Context, volume capstan.Volume, c *copyCheck) error {
	file, err := volume.Open(ctx, c.Set, c.archive.Name)
	if err != nil {
		c.fail(capstan.CopyMissing, err)
		return context.Cause(ctx)
	}
	defer file.Close()
	if file.Size() != c.archive.Size && (c.next.Hash.IsZero() || file.Size() != c.next.Size) {
		c.fail(capstan.CopyDamaged, fmt.Errorf("is %d bytes long, was written with %d", file.Size(), c.archive.Size))
		return nil
	}
	if v.job.ReadData == 0 || v.summary.Read > 0 && rand.IntN(100) >= v.job.ReadData {
		return nil
	}
	c.read = true
	v.summary.Read++
	err = v.sum(ctx, file, c)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		c.fail(capstan.CopyDamaged, err)
	}
	return nil
}

// locked notes an encrypted set whose entries nobody can look at here; every other
// error it gives back.
func (v *verifyRun) locked(set *capstan.Set, err error) error {
	if !errors.Is(err, capstan.ErrWrongKey) {
		return err
	}
	v.summary.Locked++
	v.Say("set %s is encrypted to %s, and no key for it was given: its files are as they were written, the entries in them were not looked at",
		set.ID, envelope.Describe(set.Recipients))
	if len(v.Identities.Strings()) > 0 {
		v.wrong = err
	}
	return nil
}

// sum reads the whole file and compares its hash.
func (v *verifyRun) sum(ctx context.Context, file capstan.VolumeReader, c *copyCheck) error {
	sum := sha256.New()
	buf := make([]byte, capstan.MiB)
	source := io.NewSectionReader(file, 0, file.Size())
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n, err := source.Read(buf)
		sum.Write(buf[:n])
		v.Tracker.Stage(stageVerify).Moved(capstan.Bytes(n), 1)
		v.summary.Bytes += capstan.Bytes(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot be read: %w", err)
		}
	}
	if got := capstan.Hash(sum.Sum(nil)); got != c.archive.Hash && (c.next.Hash.IsZero() || got != c.next.Hash) {
		return errors.New("its SHA-256 is not the recorded one")
	}
	return nil
}

// entries checks the hash of every entry in the archives that are read, damaged
// ones too, so that it can name what is lost.
func (v *verifyRun) entries(ctx context.Context, reader *setReader, checks []*copyCheck) error {
	chosen := make(map[capstan.ArchiveNumber]*copyCheck, len(checks))
	v.here = make(map[capstan.ArchiveNumber]*copyCheck, len(checks))
	for _, check := range checks {
		v.here[check.Number] = check
		if check.read {
			chosen[check.Number] = check
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	if set, err := reader.about(ctx); err != nil || set.Encrypted() {
		if err == nil {
			err = reader.unlock(ctx)
		}
		if err != nil {
			return v.locked(&set, err)
		}
	}
	batch := make([]capstan.Entry, 0, 1024)
	for entry, err := range v.Catalog.Walk(ctx, reader.set, "") {
		if err != nil {
			return err
		}
		if !entry.Outcome.Held() || chosen[entry.Archive] == nil {
			continue
		}
		batch = append(batch, entry)
		if len(batch) < batchEntries {
			continue
		}
		if err := v.batch(ctx, reader, batch, chosen); err != nil {
			return err
		}
		clear(batch)
		batch = batch[:0]
	}
	return v.batch(ctx, reader, batch, chosen)
}

func (v *verifyRun) batch(ctx context.Context, reader *setReader, batch []capstan.Entry, chosen map[capstan.ArchiveNumber]*copyCheck) error {
	v.summary.Entries += int64(len(batch))
	var split []capstan.Entry
	batch = slices.DeleteFunc(batch, func(e capstan.Entry) bool {
		if len(e.Parts) > 0 {
			split = append(split, e)
		}
		return len(e.Parts) > 0
	})
	for group := range byArchive(batch) {
		check := chosen[group[0].Archive]
		a, err := check.open(ctx, reader)
		if errors.Is(err, capstan.ErrWrongKey) {
			return err // another archive of the set did open
		}
		if err != nil { // all that it holds is lost
			if check.state == "" {
				check.fail(capstan.CopyDamaged, err)
			}
			for i := range group {
				if err := v.entry(ctx, &group[i], err, check); err != nil {
					return err
				}
			}
			continue
		}
		err = a.Extract(ctx, group, v.workers(), v.Memory*3/4, func(ctx context.Context, x *archive.Extracted) error {
			err := x.Err
			if err == nil {
				_, err = io.Copy(io.Discard, x.Content)
			}
			return v.entry(ctx, x.Entry, err, check)
		})
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil { // records that contradict themselves
			check.fail(capstan.CopyDamaged, err)
		}
	}
	for i := range split {
		if chosen[split[i].Archive] == nil || !v.joins(&split[i]) {
			continue
		}
		content := reader.content(ctx, &split[i])
		_, err := io.Copy(io.Discard, content)
		if err := v.entry(ctx, &split[i], errors.Join(err, content.Close()), v.guilty(&split[i], chosen)); err != nil {
			return err
		}
	}
	return nil
}

// joins reports whether all parts of a split entry are said to be on the volume:
// what was never brought there is not read, and not damage.
func (v *verifyRun) joins(e *capstan.Entry) bool {
	for _, part := range e.Parts {
		if v.here[part.Archive] == nil {
			return false
		}
	}
	return true
}

// guilty is the copy that a split entry's damage counts for: one of its parts that
// is known to be bad, else the copy that the entry belongs to.
func (v *verifyRun) guilty(e *capstan.Entry, chosen map[capstan.ArchiveNumber]*copyCheck) *copyCheck {
	for _, part := range e.Parts {
		if check := v.here[part.Archive]; check.state != "" {
			return check
		}
	}
	return chosen[e.Archive]
}

// entry names an entry whose content is not what was stored.
func (v *verifyRun) entry(ctx context.Context, e *capstan.Entry, problem error, check *copyCheck) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	v.Tracker.Stage(stageVerify).Moved(0, 1)
	v.Tracker.Count(1, capstan.Bytes(e.StoredSize()), 0)
	if problem != nil {
		check.damaged.Add(1)
		v.problem(e.Path, problem.Error())
	}
	return nil
}

// byArchive sorts entries by their place and yields them archive by archive.
func byArchive(entries []capstan.Entry) func(yield func([]capstan.Entry) bool) {
	slices.SortStableFunc(entries, func(a, b capstan.Entry) int {
		return cmp.Or(cmp.Compare(a.Archive, b.Archive), cmp.Compare(a.Offset, b.Offset))
	})
	return func(yield func([]capstan.Entry) bool) {
		for len(entries) > 0 {
			n := 1
			for n < len(entries) && entries[n].Archive == entries[0].Archive {
				n++
			}
			if !yield(entries[:n]) {
				return
			}
			entries = entries[n:]
		}
	}
}
