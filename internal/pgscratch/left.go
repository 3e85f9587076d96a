package pgscratch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/progress"
)

// abandoned is how old a directory without a marker must be to be one that was left:
// its maker was killed before he wrote it.
const abandoned = time.Hour

// Sweep ends and removes what processes that were killed have left in a directory. What
// cannot be removed is warned of.
func Sweep(ctx context.Context, env Env, parent string) {
	roots, err := filepath.Glob(filepath.Join(parent, prefix+"*"))
	if err != nil {
		return // of a directory whose name is a pattern, which is legal
	}
	for _, root := range roots {
		clearAway(ctx, env, root)
	}
}

// clearAway removes the directory of a server whose process is gone, after the server.
// It reports whether there is nothing any more that somebody would have to remove.
func clearAway(ctx context.Context, env Env, root string) (gone bool) {
	info, err := os.Lstat(root)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil || !info.IsDir() || !mine(info) {
		return false
	}
	left, err := readMarker(root)
	if err != nil && time.Since(info.ModTime()) > abandoned {
		return removeUnmarked(root)
	}
	if err != nil || !left.dead() {
		return false
	}
	env.Say("removing %s, which a process that has ended left behind", root)
	err = quell(ctx, env, filepath.Join(root, dataName), left)
	if err == nil {
		err = remove(ctx, root)
	}
	if err != nil {
		env.Warn("%s cannot be removed: %v", root, err)
	}
	return err == nil
}

// removeUnmarked removes a directory whose maker was killed before its marker was whole:
// there is nothing else in it then.
func removeUnmarked(root string) bool {
	if found, err := os.ReadDir(root); err != nil || len(found) > 1 {
		return false
	}
	_ = os.Remove(filepath.Join(root, markerName)) // it need not be there
	return os.Remove(root) == nil                  // which fails where there is something else
}

// quellPatience is how long what is told to end at once may take, and quellLook how
// often it is looked at.
const (
	quellPatience = time.Minute
	quellLook     = 50 * time.Millisecond
)

// quell ends what still works in a data directory: its server, and children of one that
// was killed. postmaster.pid alone is no proof: its number may be another process's by
// now, which is left alone. Where processes cannot be looked at, pg_ctl has to do.
func quell(ctx context.Context, env Env, data string, left marker) error {
	cluster, err := pg.Open(env.Disk, data)
	if errors.Is(err, pg.ErrPlatform) {
		halt(ctx, left.Bin, data, left.Account)
		return nil
	}
	if errors.Is(err, capstan.ErrRefused) {
		return err
	}
	if err != nil {
		return nil //nolint:nilerr // no cluster was made there, or it is being removed: there is no server
	}
	server, err := cluster.Server()
	if err != nil {
		return err
	}
	if server.Presence == pg.Alive {
		if err := end(ctx, env, cluster, server.Process); err != nil {
			return err
		}
	}
	strays, err := cluster.Strays(pg.Server{Presence: pg.Dead})
	if err != nil {
		return err
	}
	for _, p := range strays {
		err = errors.Join(err, end(ctx, env, cluster, p))
	}
	return err
}

// end has a process of a cluster end at once, and waits until it has.
func end(ctx context.Context, env Env, cluster *pg.Cluster, p pg.Process) error {
	defer env.Stage.Wait(progress.ForServer, fmt.Sprintf("end of process %d", p.PID))()
	ctx, cancel := context.WithTimeout(ctx, quellPatience)
	defer cancel()
	err := cluster.Signal(p, syscall.SIGQUIT, nil)
	if err == nil {
		err = cluster.Gone(ctx, p, quellLook)
	}
	if err == nil || errors.Is(err, pg.ErrGone) {
		return nil
	}
	return &capstan.Error{Op: "end", Object: fmt.Sprintf("process %d of a scratch server", p.PID), Err: err, Safe: "its directory is left", Next: "end it by hand"}
}

// notes is a directory that says where servers of killed processes may lie: one file for
// each server, with the path of its directory. An empty name stands for none.
type notes string

// note writes down where a server is about to be made.
func (n notes) note(env Env, root string) error {
	if n == "" {
		return nil
	}
	if err := env.Disk.MkdirAll(string(n)); err != nil {
		return err
	}
	return env.Disk.WriteNew(n.path(root), []byte(root))
}

// drop removes a note; one that stays is looked at by the next Sweep.
func (n notes) drop(env Env, root string) {
	if n == "" || root == "" {
		return
	}
	if err := env.Disk.Remove(n.path(root)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		env.Warn("a note of %s stays: %v", root, err)
	}
}

func (n notes) path(root string) string { return filepath.Join(string(n), filepath.Base(root)) }

// longestPath bounds what a note may hold.
const longestPath = 16 << 10

// SweepNoted does what Sweep does wherever a directory of notes says that servers were
// made (Options.Notes), and drops the notes of those that are gone.
func SweepNoted(ctx context.Context, env Env, noted string) {
	files, err := env.Disk.ReadDir(noted)
	if err != nil {
		return // nobody has noted anything there
	}
	for _, file := range files {
		path := filepath.Join(noted, file.Name())
		text, err := env.Disk.ReadFile(path, longestPath)
		root := string(text)
		switch {
		case err != nil:
			continue // another process has just dropped it
		case filepath.Base(root) != file.Name() || !filepath.IsAbs(root):
			continue // it is no note
		case clearAway(ctx, env, root):
			notes(noted).drop(env, root)
		}
	}
}

// working ends what is left of a server whose first process is gone.
func (s *Server) working(ctx context.Context) error {
	return quell(ctx, s.env, s.data(), marker{Bin: s.bin, Account: s.account})
}
