package pgserver

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"capstan/internal/pg"
)

// pause empties archive_command in postgresql.auto.conf and tells the archiver to
// read it: the postmaster tells nobody any more while it stops. Where that cannot
// have an effect, the archiver is told to end after the present file instead.
func (s *stopper) pause(ctx context.Context, archiver pg.Child) error {
	s.paused = true
	if s.cluster.Major >= 15 { // archive_library came with 15
		values, err := s.cluster.Settings(ctx, s.server, "archive_library")
		if err != nil || values["archive_library"] != "" {
			s.instead("archive_library is set or cannot be asked for", err)
			return nil
		}
	}
	data, err := s.cluster.ReadFile(autoConf, autoConfLimit)
	if err != nil {
		return err
	}
	_, line := emptied(string(data))
	change := Change{Kind: ChangeArchive, Object: "archive_command", Time: time.Now().UTC(), Line: line}
	s.env.Step("journal archive")
	if err := s.journal.record(change); err != nil {
		return err
	}
	s.env.Step("empty archive_command")
	err = rewriteAutoConf(s.env.FS, s.cluster, func(text string) string { text, _ = emptied(text); return text })
	if err != nil {
		return err
	}
	values, err := s.cluster.Settings(ctx, s.server, "archive_command")
	if err != nil || values["archive_command"] != "" {
		s.instead("archive_command is set where "+filepath.Join(s.cluster.Dir, autoConf)+" does not reach", err)
		return s.undoArchive(ctx)
	}
	s.env.Step("hang up")
	if err := s.cluster.Signal(archiver.Process, syscall.SIGHUP, s.still(archiver)); err != nil {
		return err
	}
	s.act(ctx, "archive_command emptied for the length of this stop; SIGHUP to archiver %d", archiver.PID)
	return nil
}

// instead says that pausing is not possible, and lets the archiver finish.
func (s *stopper) instead(why string, err error) {
	s.broken = true
	if err != nil {
		why += ": " + strings.TrimSpace(err.Error())
	}
	s.env.Warn("archiving cannot be paused: %s; the archiver is told to end after the present file", why)
}
