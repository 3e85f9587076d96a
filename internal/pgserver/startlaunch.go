package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/process"
	"capstan/internal/progress"
)

// launch starts the server and watches it until it takes connections.
func (s *starter) launch(ctx context.Context) error {
	program, args, err := s.command()
	if err != nil {
		return err
	}
	// Needed before the server reads it.
	for _, change := range s.journal.changes() {
		if change.Kind == ChangeArchive {
			if err := undoOne(ctx, s.env, s.cluster, s.journal, change, UndoOptions{}); err != nil {
				return err
			}
		}
	}
	if err := s.makeLog(); err != nil {
		return err
	}
	if err := s.reaped(ctx); err != nil {
		return err
	}
	s.env.Step("start")
	// pg_ctl waits and ends by itself when the server is ready or has failed; it is not
	// waited for otherwise. The server has a session of its own and goes on when pg_ctl,
	// or this program, is ended.
	control, err := process.Start(ctx, process.Command{
		Path: program, Args: args, Dir: "/", Env: s.environment(), As: &s.cluster.Owner, Grace: time.Second,
	})
	if err != nil {
		return err
	}
	s.act(ctx, "started with %s; its output goes to %s", program, s.options.Log)
	return s.watch(ctx, control)
}

// reapedWithin is how long the server of a stale pid file may stay a zombie.
const reapedWithin = 10 * time.Second

// reaped waits until the process that a stale pid file names is not even a zombie
// any more: a server that starts takes it for alive, and does not come up.
func (s *starter) reaped(ctx context.Context) error {
	file, found, err := s.cluster.PIDFile()
	if err != nil || !found {
		return err
	}
	defer s.stage.Wait(progress.Resource("reaping"), fmt.Sprintf("process %d of the last server", file.PID))()
	limit := time.NewTimer(reapedWithin)
	defer limit.Stop()
	tick := time.NewTicker(startLook)
	defer tick.Stop()
	for {
		if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(file.PID))); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.C:
			return refused("start", s.cluster.Dir, fmt.Errorf("process %d of the last server has ended but is not reaped, and a server takes it for alive", file.PID),
				"see to it that process 1 of this container reaps its children (docker run --init), or restart the container")
		case <-tick.C:
		}
	}
}

// waitForever is how long pg_ctl waits, in seconds: a recovery may take days.
const waitForever = "10000000"

// command is pg_ctl with what it needs to start the server.
func (s *starter) command() (program string, args []string, err error) {
	last, words := s.lastOptions()
	bin := s.options.Bin
	if bin == "" && last != "" {
		if _, err := os.Stat(filepath.Join(filepath.Dir(last), "pg_ctl")); err == nil {
			bin = filepath.Dir(last)
		}
	}
	if bin == "" {
		if bin, err = pg.FindBin(s.cluster.Major); err != nil {
			return "", nil, err
		}
	}
	options := append(words, s.options.Options...)
	if s.options.SyncFS {
		options = append(options, "-c", "recovery_init_sync_method=syncfs")
	}
	args = []string{"start", "-w", "-t", waitForever, "-s", "-D", s.cluster.Dir, "-l", s.options.Log}
	if len(options) > 0 {
		quoted := make([]string, len(options))
		for i, word := range options {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" // pg_ctl hands them to a shell
		}
		args = append(args, "-o", strings.Join(quoted, " "))
	}
	return filepath.Join(bin, "pg_ctl"), args, nil
}

// lastOptions are the server's program and those of its options at the last start
// that say where its configuration is, as on Debian, which keeps it in /etc. Other
// options of that start are not repeated: they may have been meant for it alone.
func (s *starter) lastOptions() (program string, kept []string) {
	data, err := s.env.FS.ReadFile(filepath.Join(s.cluster.Dir, "postmaster.opts"), 64<<10)
	if err != nil {
		return "", nil // never started: its configuration is in PGDATA
	}
	words := optionWords(string(data))
	if len(words) == 0 {
		return "", nil
	}
	for i := 1; i+1 < len(words); i++ {
		if words[i] != "-c" {
			continue
		}
		name, _, _ := strings.Cut(words[i+1], "=")
		if slices.Contains([]string{"config_file", "hba_file", "ident_file", "external_pid_file"}, strings.TrimSpace(name)) {
			kept = append(kept, "-c", words[i+1])
		}
	}
	return words[0], kept
}

// optionWords reads postmaster.opts: the program, then each option in double quotes
// (CreateOptsFile).
func optionWords(text string) []string {
	text = strings.TrimRight(text, "\n")
	program, rest, _ := strings.Cut(text, ` "`)
	if program == "" {
		return nil
	}
	words := []string{program}
	if rest == "" {
		return words
	}
	return append(words, strings.Split(strings.TrimSuffix(rest, `"`), `" "`)...)
}

// makeLog makes the file for the server's output where it is missing, so that the
// server's account can write it where only root may make files.
func (s *starter) makeLog() error {
	fail := func(err error) error {
		return &capstan.Error{Op: "make the server's log file", Object: s.options.Log, Err: err, Safe: "nothing was started", Next: "name another with --log"}
	}
	if !filepath.IsAbs(s.options.Log) {
		return fail(errors.New("it is not an absolute path"))
	}
	info, err := s.env.FS.Stat(s.options.Log)
	if err == nil {
		s.logged = info.Size()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := s.env.FS.Create(s.options.Log)
	if err != nil {
		return fail(err)
	}
	err = s.env.FS.SetOwner(s.options.Log, int(s.cluster.Owner.UID), int(s.cluster.Owner.GID), 0o600)
	if err = errors.Join(err, file.Close()); err != nil {
		return fail(err)
	}
	return nil
}

// environment is this program's own without what would lead pg_ctl elsewhere, and
// without secrets that are Capstan's.
func (s *starter) environment() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "CAPSTAN_")
	})
}

// logTail is what the server said last, in one line.
func (s *starter) logTail() string {
	file, err := os.Open(s.options.Log)
	if err != nil {
		return ""
	}
	defer file.Close() //nolint:errcheck // it was only read
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	const enough = 16 << 10
	data := make([]byte, min(max(info.Size()-s.logged, 0), enough))
	if _, err := file.ReadAt(data, max(info.Size()-int64(len(data)), 0)); err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for i, line := range slices.Backward(lines) {
		for _, level := range []string{"PANIC:", "FATAL:"} {
			_, text, ok := strings.Cut(line, level)
			if !ok {
				continue
			}
			text = level + text
			if i > 0 { // what is wrong with a configuration stands before
				if _, before, ok := strings.Cut(lines[i-1], "LOG:"); ok {
					text += " (" + strings.TrimSpace(before) + ")"
				}
			}
			return text
		}
	}
	return strings.Join(lines[max(len(lines)-2, 0):], " | ") // what is wrong stands before "is shut down"
}

// failed is the error of a server that ended while it started.
func (s *starter) failed(ctx context.Context, control *process.Process) error {
	why := "it ended while it started"
	if said := s.logTail(); said != "" {
		why = "it said: " + said
	}
	if _, err := control.Wait(ctx); err != nil {
		why += fmt.Sprintf(" (%v)", err)
	}
	next := "look at " + s.options.Log
	if len(s.records) > 0 {
		next += "; the slots are whole, their spill files are in the quarantine"
	}
	return &capstan.Error{Op: "start", Object: s.cluster.Dir, Err: errors.New(why), Safe: "no data was changed by it", Next: next}
}
