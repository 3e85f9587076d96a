package copier

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/progress"
)

// chunk is how much is read and written at a time, and so how often an owner
// shows that it moves.
const chunk = capstan.MiB

// attempt makes one copy, or records why it failed. Its error is the cause of
// ctx, or that the catalog failed.
func (w *owner) attempt(ctx context.Context, next catalog.QueuedCopy) error {
	o := &w.queue.options
	a := next.Archive
	if err := o.Catalog.SetCopy(ctx, a.Set, a.Number, w.info.ID, capstan.CopyWriting, "", o.Now(), w.fences()...); err != nil {
		return w.unlessLost(ctx, err)
	}
	length, err := o.Catalog.QueueLength(ctx, a.Set, w.info.ID)
	if err != nil {
		return err
	}
	began := o.Now()
	event := progress.Event{Type: progress.EventBegin, Stage: progress.StepWrite, Archive: a.Name, Object: w.info.Location, Queue: length - 1}
	o.Tracker.Event(event)
	err = w.guard(ctx, a.Name, func(ctx context.Context) error { return w.bring(ctx, a) })
	event.Type, event.Bytes, event.Seconds = progress.EventEnd, capstan.Bytes(a.Size), o.Now().Sub(began).Seconds()
	if err != nil {
		event.Error = err.Error()
	}
	o.Tracker.Event(event)
	if err == nil {
		w.outcome.Archives++
		w.outcome.Bytes += capstan.Bytes(a.Size)
		return w.written(ctx, a)
	}
	return w.copyFailed(ctx, next, err)
}

// written records a copy that is durable; that must not be lost when ctx ends now.
func (w *owner) written(ctx context.Context, a capstan.Archive) error {
	o := &w.queue.options
	longer, stop := catalog.Outlive(ctx, recordTime)
	defer stop()
	err := o.Catalog.CommitCopy(longer, a, w.info.ID, w.fences()...)
	if err != nil {
		return w.unlessLost(longer, err) // whoever writes there next finds the file
	}
	defer w.stage.Wait(progress.ForVolume, "the stage")()
	return w.queue.settled(longer, a)
}

// copyFailed records a failed attempt, and when the next one is.
func (w *owner) copyFailed(ctx context.Context, next catalog.QueuedCopy, problem error) error {
	o, a := &w.queue.options, next.Archive
	if cause := context.Cause(ctx); cause != nil {
		if w.fenced.Load() {
			w.outcome.Problem = capstan.Brief(problem)
		}
		return cause // the copy is queued still
	}
	w.claimed = false // its directory may have gone; who claims it again finds what is there
	if errors.Is(problem, capstan.ErrLeaseLost) {
		o.Say("%s on %s: %s; it is taken up again", a.Name, w.info.Location, capstan.Brief(problem))
		w.release(ctx)
		return nil // queued still, and no fault of the volume
	}
	n := next.Attempts + 1
	var retry time.Time
	if n < o.Attempts && !w.fenced.Load() {
		retry = o.Now().Add(w.backoff(n))
		o.Say("%s on %s: attempt %d of %d failed, the next is in %s: %s", a.Name, w.info.Location, n, o.Attempts,
			retry.Sub(o.Now()).Round(time.Second/10), capstan.Brief(problem)) // what is to be done, the end of the run says
	} else {
		o.Say("%s on %s: given up after %d attempts: %s", a.Name, w.info.Location, n, capstan.Brief(problem))
	}
	if w.fenced.Load() {
		w.outcome.Problem = capstan.Brief(problem)
	}
	return w.unlessLost(ctx, o.Catalog.FailCopy(ctx, a.Set, a.Number, w.info.ID, capstan.Brief(problem), retry, w.fences()...))
}

// unlessLost is the error of the catalog, but for the loss of the volume's lease:
// the next look at the queue takes it anew.
func (w *owner) unlessLost(ctx context.Context, err error) error {
	if errors.Is(err, capstan.ErrLeaseLost) {
		w.release(ctx)
		return nil
	}
	return err
}

// bring writes an archive to the volume, or finds it there. Where the staged file is
// not what was packed, it is taken from another volume that has it.
func (w *owner) bring(ctx context.Context, a capstan.Archive) error {
	err := w.bringFrom(ctx, a, w.open)
	if !errors.Is(err, capstan.ErrDamaged) || w.queue.options.Stage == nil {
		return err
	}
	if other := w.bringFrom(ctx, a, w.openAnywhere); other != nil {
		return err // which says more
	}
	w.queue.options.Say("%v; it was taken from another volume", err)
	return nil
}

// bringFrom is bring with what opens the archive's bytes.
func (w *owner) bringFrom(ctx context.Context, a capstan.Archive, open func(context.Context, capstan.Archive) (capstan.VolumeReader, string, error)) (err error) {
	source, from, err := open(ctx, a)
	if err != nil {
		if found, thereErr := w.there(ctx, a); found || thereErr != nil { // the stage may be lost, and this copy whole
			return thereErr
		}
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	file, err := w.writable().Create(ctx, a.Set, a.Name)
	if errors.Is(err, fs.ErrExist) {
		var found bool
		if found, err = w.there(ctx, a); found || err != nil {
			return err
		}
		file, err = w.replace(ctx, a)
	}
	if err != nil {
		return err
	}
	if err := w.transfer(ctx, file, source, a, from); err != nil {
		return errors.Join(err, file.Abort())
	}
	return file.Commit(ctx)
}

// replace starts an archive in the place of a finished file that is not it: one of
// the set's own name, in a directory that only this set has.
func (w *owner) replace(ctx context.Context, a capstan.Archive) (capstan.VolumeFile, error) {
	w.queue.options.Say("%s on %s is not what was packed: it is written again", a.Name, w.info.Location)
	volume := w.writable()
	if err := volume.Remove(ctx, a.Set, a.Name); err != nil {
		return nil, err
	}
	// With its last file the volume gave the name up.
	if err := volume.ClaimSet(ctx, a.Set, w.queue.options.Owner); err != nil {
		return nil, err
	}
	return volume.Create(ctx, a.Set, a.Name)
}

// transfer copies the bytes and makes sure that they are the archive's.
func (w *owner) transfer(ctx context.Context, file io.Writer, source capstan.VolumeReader, a capstan.Archive, from string) error {
	sum := sha256.New()
	buf := make([]byte, min(int64(chunk), max(a.Size, 1)))
	reader := io.NewSectionReader(source, 0, source.Size())
	var n int64
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		read, err := io.ReadFull(reader, buf)
		if read > 0 {
			sum.Write(buf[:read])
			n += int64(read)
			if _, err := file.Write(buf[:read]); err != nil {
				return err
			}
			w.stage.Moved(0, 0)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read %s from %s: %w", a.Name, from, err)
		}
	}
	if n != a.Size || capstan.Hash(sum.Sum(nil)) != a.Hash {
		return fmt.Errorf("%w: %s in %s is not what was packed", capstan.ErrDamaged, a.Name, from)
	}
	return nil
}

// open opens the archive's bytes where they are: in the stage, else on a volume
// that has a good copy.
func (w *owner) open(ctx context.Context, a capstan.Archive) (source capstan.VolumeReader, from string, err error) {
	o := &w.queue.options
	if o.Stage != nil {
		source, err = o.Stage.Open(ctx, a.Set, a.Name)
		if err == nil {
			return source, "the stage", nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, "", err
		}
	}
	return w.openAnywhere(ctx, a)
}

// openAnywhere opens the archive's bytes on another volume that has a good copy.
func (w *owner) openAnywhere(ctx context.Context, a capstan.Archive) (source capstan.VolumeReader, from string, err error) {
	o := &w.queue.options
	copies, err := o.Catalog.CopiesOf(ctx, a.Set, a.Number)
	if err != nil {
		return nil, "", err
	}
	failures := []error{fmt.Errorf("%s is neither in the stage nor whole on another volume", a.Name)}
	for _, c := range copies {
		if c.Volume == w.info.ID || c.State != capstan.CopyWritten && c.State != capstan.CopyVerified {
			continue
		}
		reader, from, err := w.openElsewhere(ctx, c.Volume, a)
		if err == nil {
			return reader, from, nil
		}
		failures = append(failures, err)
	}
	return nil, "", errors.Join(failures...)
}

// openElsewhere opens an archive on another volume, which its reader closes.
func (w *owner) openElsewhere(ctx context.Context, id capstan.VolumeID, a capstan.Archive) (capstan.VolumeReader, string, error) {
	o := &w.queue.options
	info, err := o.Catalog.Volume(ctx, id)
	if err != nil {
		return nil, "", err
	}
	volume, err := o.Open(ctx, info)
	if err != nil {
		return nil, "", err
	}
	file, err := volume.Open(ctx, a.Set, a.Name)
	if err != nil {
		return nil, "", errors.Join(err, volume.Close())
	}
	return volumeReader{file, volume}, info.Location, nil
}

// volumeReader closes the volume with its file.
type volumeReader struct {
	capstan.VolumeReader
	volume capstan.Volume
}

func (r volumeReader) Close() error { return errors.Join(r.VolumeReader.Close(), r.volume.Close()) }

// there reports whether the archive lies finished on the volume, as it was
// packed: the process that wrote it was killed before the catalog could say so. Its
// name is durable since the set was claimed again. One that cannot be read is not
// there. The error is the cause of ctx.
func (w *owner) there(ctx context.Context, a capstan.Archive) (bool, error) {
	file, err := w.volume.Open(ctx, a.Set, a.Name)
	if err == nil {
		if file.Size() == a.Size {
			err = w.transfer(ctx, io.Discard, file, a, w.info.Location)
		} else {
			err = capstan.ErrDamaged
		}
		_ = file.Close() // it was only read
	}
	if cause := context.Cause(ctx); cause != nil {
		return false, cause
	}
	return err == nil, nil
}
