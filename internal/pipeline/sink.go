package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/progress"
)

// sink takes finished archives and entries from the packer to the volume and
// the catalog. Committing an archive (sync, rename, catalog) happens in a
// goroutine of its own, so that the next archive is packed meanwhile.
type sink struct {
	run     *backupRun
	entries *catalog.EntryWriter
	draft   *draft             // of the manifest; nil where there is none
	file    capstan.VolumeFile // of the archive being written; nil between two
	name    string             // of the same
	begun   time.Time          // when file was begun
	cipher  *cipher            // around file; nil where the run does not encrypt
	commits chan commit
	cancel  context.CancelCauseFunc // ends the committer
	forget  func()                  // ends what is told to the catalog
	linksMu sync.Mutex
	unread  map[string]string // first names of files that could not be read, and why
	failed  chan struct{}     // closed when a commit failed
	done    chan struct{}     // closed when the committer has ended
	err     error             // of the committer; read after failed or done is closed
}

// commit is an archive whose bytes are all written and none confirmed.
type commit struct {
	archive capstan.Archive
	file    capstan.VolumeFile
}

func newSink(ctx context.Context, run *backupRun) *sink {
	records, forget := catalog.Outlive(ctx, cleanupTime)
	ctx, cancel := context.WithCancelCause(ctx)
	s := &sink{
		run: run, entries: run.Catalog.NewEntryWriter(records, run.set.ID), draft: run.newDraft(), forget: forget,
		commits: make(chan commit, 1), cancel: cancel, failed: make(chan struct{}), done: make(chan struct{}),
	}
	go s.commitAll(ctx, records)
	return s
}

// Begin starts the next archive under a name that the catalog assigns.
func (s *sink) Begin(ctx context.Context) (capstan.ArchiveNumber, io.Writer, error) {
	select {
	case <-s.failed:
		return 0, nil, s.err
	default:
	}
	planned, err := s.run.Catalog.PlanArchive(ctx, s.run.set.ID, s.run.Codec, s.run.volumeIDs()...)
	if err != nil {
		return 0, nil, err
	}
	s.file, err = s.run.create(ctx, planned.Name)
	if err != nil {
		return 0, nil, err
	}
	out, cipher, err := s.run.encrypt(s.file)
	if err != nil {
		return 0, nil, err
	}
	s.cipher = cipher
	s.run.Tracker.Stage(stageWrite).Object(planned.Name)
	s.name, s.begun = planned.Name, s.run.Now()
	for _, stage := range []string{stagePack, stageWrite} {
		s.run.Tracker.Event(progress.Event{Type: progress.EventBegin, Stage: stage, Archive: planned.Name, Queue: len(s.commits)})
	}
	return planned.Number, out, nil
}

// Entries records entries whose bytes were handed to the archive's writer.
func (s *sink) Entries(ctx context.Context, entries []capstan.Entry) error {
	return s.record(ctx, entries)
}

// record counts entries and hands them to the catalog's writer.
func (s *sink) record(ctx context.Context, entries []capstan.Entry) error {
	s.judgeLinks(entries)
	s.run.tally.entries(entries)
	s.run.Tracker.Count(int64(len(entries)), 0, 0)
	for i := range entries {
		switch entry := &entries[i]; {
		case entry.Outcome == capstan.OutcomeFailed:
			s.run.Say("cannot read %s: %s", entry.Host, entry.Reason)
		case entry.Outcome == capstan.OutcomeStored && entry.Reason != "":
			s.run.Say("%s: %s", entry.Host, entry.Reason)
		}
	}
	s.draft.add(entries)
	return s.entries.Add(ctx, entries)
}

// judgeLinks fails the further names of files that could not be read to their
// end: their headers were written before that was known. A file's first name
// comes before all others.
func (s *sink) judgeLinks(entries []capstan.Entry) {
	s.linksMu.Lock()
	defer s.linksMu.Unlock()
	for i := range entries {
		entry := &entries[i]
		switch {
		case entry.Outcome == capstan.OutcomeFailed && entry.Kind == capstan.KindFile && entry.Links > 1:
			if s.unread == nil {
				s.unread = map[string]string{}
			}
			s.unread[entry.Path] = entry.Reason
		case entry.Kind == capstan.KindHardlink && s.unread[entry.Link] != "":
			entry.Outcome, entry.Reason = capstan.OutcomeFailed, "another name of "+entry.Link+": "+s.unread[entry.Link]
		}
	}
}

// Sealed hands a finished archive to the committer.
func (s *sink) Sealed(ctx context.Context, sealed capstan.Archive) error {
	sealed.Set, sealed.Codec = s.run.set.ID, s.run.Codec
	sealed.Name = s.run.set.ArchiveName(sealed.Number, sealed.Codec)
	if err := s.cipher.seal(&sealed); err != nil {
		return err // close takes the file back
	}
	took := s.run.Now().Sub(s.begun).Seconds()
	for stage, n := range map[string]int64{stagePack: sealed.TarSize, stageWrite: sealed.Size} {
		s.run.Tracker.Event(progress.Event{
			Type: progress.EventEnd, Stage: stage, Archive: sealed.Name, Bytes: capstan.Bytes(n), Seconds: took, Queue: len(s.commits),
		})
	}
	file := s.file
	s.file = nil
	select {
	case s.commits <- commit{sealed, file}:
		return nil
	default:
	}
	defer s.run.Tracker.Stage(stageWrite).Wait(progress.ForStage(stageCommit), "")()
	select {
	case s.commits <- commit{sealed, file}:
		return nil
	case <-s.failed:
		return errors.Join(s.err, file.Abort())
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), file.Abort())
	}
}

// commitAll commits archives until there are no more; after the first failure it
// only takes back what comes. records outlives ctx.
func (s *sink) commitAll(ctx, records context.Context) {
	defer close(s.done)
	for c := range s.commits {
		if s.err != nil {
			_ = c.file.Abort() // the failure that led here says more
			continue
		}
		if err := s.commit(ctx, records, c); err != nil {
			s.err = err
			close(s.failed)
		}
	}
}

// commit makes one archive durable and then says so in the catalog.
func (s *sink) commit(ctx, records context.Context, c commit) error {
	if err := context.Cause(ctx); err != nil {
		return errors.Join(err, c.file.Abort())
	}
	size := capstan.Bytes(c.archive.Size)
	stage := s.run.Tracker.Stage(stageCommit)
	done := stage.Step(c.archive.Name, progress.StepSync, len(s.commits))
	over := stage.Wait(progress.ForVolume, s.run.restingPlace())
	err := s.seal(ctx, c)
	over()
	done(size, err)
	if err != nil {
		return fmt.Errorf("archive %s: %w", c.archive.Name, err)
	}
	done = stage.Step(c.archive.Name, "catalog", len(s.commits))
	err = s.run.Catalog.CommitArchive(records, c.archive, s.run.sealedState(), s.run.volumeIDs())
	done(0, err)
	if err != nil {
		return err
	}
	s.run.enqueued(c.archive)
	s.run.tally.archive(c.archive.Size)
	return nil
}

// seal makes the archive durable under its name, and tells of the renaming apart.
func (s *sink) seal(ctx context.Context, c commit) error {
	guarded, ok := c.file.(capstan.GuardedFile)
	if !ok {
		return c.file.Commit(ctx)
	}
	asked := 0
	renamed := func() {}
	err := guarded.CommitIf(ctx, func() error {
		if asked++; asked == 2 { // the second time everything but the name is done
			renamed = s.run.step(progress.StepRename, c.archive.Name)
		}
		return nil
	})
	renamed()
	return err
}

// awaitCommits waits for the last commit, and says so: packing and writing stand
// still meanwhile, and what holds them up is the committer's to tell.
func (s *sink) awaitCommits() {
	for _, stage := range []string{stagePack, stageWrite} {
		defer s.run.Tracker.Stage(stage).Wait(progress.ForStage(stageCommit), "")()
	}
	<-s.done
}

// close ends the sink after the packer has ended with packErr, and gives the
// first error of the two. It waits for the last commit.
func (s *sink) close(packErr error) error {
	close(s.commits)
	if packErr != nil {
		s.cancel(packErr)
	}
	s.awaitCommits()
	if s.file != nil {
		packErr = errors.Join(packErr, s.file.Abort())
	}
	err := s.err
	if err == nil {
		err = packErr
	}
	if err != nil {
		s.forget() // what no sealed archive holds is not worth a write
	}
	closeErr := s.entries.Close()
	if err == nil {
		err = closeErr
	}
	if s.draft.end(err == nil && s.entries.Plain()) {
		s.run.draft = s.draft
	}
	s.forget()
	s.cancel(err)
	return err
}
